"""What holds for all tests."""

import os
import signal
from collections import defaultdict

import pytest
from hypothesis import settings

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
"""Of each property that says nothing else; more of them find more: EXAMPLES=2000 make test."""

# Machines are as fast as they are: an example that takes long is no failure.
settings.register_profile("here", deadline=None, max_examples=EXAMPLES)
settings.load_profile("here")

# Whoever starts the tests in the background has Ctrl-C ignored for all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts processes and waits for them begins first, so that nobody waits at the end.

    Each of the processes that run tests begins with a share of the list of its own; a module stays
    together, since its tests share what they have started.
    """
    modules: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        modules[item.nodeid.partition("::")[0]].append(item)
    shares: list[list[pytest.Item]] = [
        [] for _ in range(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    ]
    waiting = [module for path, module in modules.items() if not path.startswith(_QUICK)]
    for number, module in enumerate(waiting):
        shares[number % len(shares)].extend(module)
    for path, module in modules.items():
        if path.startswith(_QUICK):
            min(shares, key=len).extend(module)
    items[:] = [item for share in shares for item in share]


_QUICK = ("tests/unit/", "tests/contract/")
