"""What holds for all tests."""

import signal

from hypothesis import settings

# Machines are as fast as they are: an example that takes long is no failure.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# Whoever starts the tests in the background has Ctrl-C ignored for all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
