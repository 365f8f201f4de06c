"""Which worker processes of this machine are alive: each holds a lock that ends with it.

A lock that can be taken belongs to a process that is gone, however it went; so its leases need not
be waited for. A process of another machine is not seen here: its leases lapse by the clock.

A process signs its lock every few seconds, so that one which is there but stands still is seen too.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FRESH_SECONDS = 60.0
"""A living process whose sign is older than this stands still: it signs every five seconds."""
_SUFFIX = ".lock"
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Sign:
    """What a living process said of itself, and when, in seconds since 1970."""

    said: str
    at: float


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


def sign(descriptor: int, said: str) -> None:
    """Write into the lock that `announce` returned what this process does, and that it does it."""
    text = said.encode()[:_LONGEST]
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    os.utime(descriptor)


def signs(folder: Path) -> list[Sign]:
    """The signs of the processes that are there; one that has not signed yet said nothing."""
    found = []
    for name in living(folder):
        path = folder / f"{name}{_SUFFIX}"
        try:
            found.append(Sign(path.read_text(encoding="utf-8"), path.stat().st_mtime))
        except FileNotFoundError:
            continue
    return found


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
