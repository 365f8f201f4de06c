"""Files that commands write: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.errors import UsageError


def check(target: Path, option: str) -> Path:
    """Where a file would be written, links followed. Raises UsageError where it cannot be."""
    place = _behind_links(target, option)
    reason = None
    if place.is_dir():
        reason = "it is a directory"
    elif not place.parent.is_dir():
        reason = f"there is no directory {place.parent}"
    elif not os.access(place if _is_special(place) else place.parent, os.W_OK):
        reason = "you have no right to"
    if reason is not None:
        raise _unwritable(target, option, reason)
    return place


@contextmanager
def written(target: Path, option: str, *, errors: str = "strict") -> Iterator[IO[str]]:
    """UTF-8 text for `target`; a file appears, or changes, only when it is whole.

    What is no ordinary file, such as a pipe, is written to as it comes. Raises UsageError.
    """
    place = check(target, option)
    special = _is_special(place)
    draft = place if special else place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", errors=errors, newline="") as file:
            yield file
        if not special:
            draft.replace(place)
    except BaseException as error:
        if not special:
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _unwritable(target, option, error.strerror or str(error)) from None
        raise


def _behind_links(target: Path, option: str) -> Path:
    try:
        return target.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise _unwritable(target, option, getattr(error, "strerror", None) or str(error)) from None


def _is_special(place: Path) -> bool:
    return place.exists() and not place.is_file()


def _unwritable(target: Path, option: str, reason: str) -> UsageError:
    mend = f"Name another file with {option}."
    return UsageError(f"{target} cannot be written: {reason}", mend=mend)
