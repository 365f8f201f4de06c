"""Which worker processes of this machine are alive: each holds a lock that ends with it.

A lock that can be taken belongs to a process that is gone, however it went; so its leases need not
be waited for. A process of another machine is not seen here: its leases lapse by the clock.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

_SUFFIX = ".lock"


def announce(folder: Path) -> tuple[str, int]:
    """This process's new name and the descriptor that holds its lock until the process ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    # Locked before it has its name, so that nobody can find it unlocked.
    draft = folder / f".{name}"
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    draft.rename(folder / f"{name}{_SUFFIX}")
    return name, descriptor


def dead(folder: Path) -> list[str]:
    """Names whose process is gone."""
    return [name for name, lives in _look(folder) if not lives]


def living(folder: Path) -> list[str]:
    """Names whose process is there."""
    return [name for name, lives in _look(folder) if lives]


def _look(folder: Path) -> Iterator[tuple[str, bool]]:
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lives = False
        except BlockingIOError:
            lives = True
        finally:
            os.close(descriptor)
        yield path.stem, lives


def bury(folder: Path, names: Iterable[str]) -> None:
    """Forget dead processes, after what they held was taken care of."""
    for name in names:
        (folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
