"""What holds for all tests."""

from hypothesis import settings

# Machines are as fast as they are: an example that takes long is no failure.
settings.register_profile("here", deadline=None)
settings.load_profile("here")
