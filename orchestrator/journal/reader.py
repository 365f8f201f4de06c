"""Reads every journal of a directory as a stream, past whatever is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import ServiceError
from orchestrator.journal.fields import RecordError
from orchestrator.journal.record import MAX_LINE, Record, from_line
from orchestrator.journal.writer import SUFFIX


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that cannot be read (`line` counts from 1).

    `torn`: it is the last of its file, as a crash in the middle of an append leaves it; nothing was
    sent on the strength of it. Anywhere else a record that was safe once is lost.
    """

    file: Path
    line: int
    reason: str
    torn: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def read(directory: Path) -> Iterator[Record | Damage]:
    """Records in the order of appending within a file; between files there is no order.

    A directory that does not exist holds none. Raises ServiceError `journal` for a file or
    directory that cannot be read. Memory: one line.
    """
    try:
        for path in paths(directory):
            with path.open("rb") as file:
                yield from read_file(path, file)
    except OSError as error:
        raise _unreadable(directory, error) from error


def read_files(files: Sequence[Path]) -> Iterator[Record | Damage]:
    """As `read`, of just these files; one that is not there any more says nothing."""
    for path in files:
        try:
            with path.open("rb") as file:
                yield from read_file(path, file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(path.parent, error) from error


def _unreadable(directory: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"the journal in {directory} cannot be read: {error}",
        mend="Give this user the right to read it, or mend ORCHESTRATOR_JOURNAL_DIR.",
        code="journal",
    )


def paths(directory: Path) -> list[Path]:
    """The journals of a directory; a directory that does not exist holds none."""
    # Not glob: it takes a directory it may not read for an empty one.
    return sorted(path for path in _entries(directory) if path.suffix == SUFFIX)


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def read_file(path: Path, file: BinaryIO) -> Iterator[Record | Damage]:
    """One file's records in their order."""
    # A bad line waits for the next one: only then it is known whether it was the last.
    waiting: Damage | None = None
    for number, line in enumerate(iter(lambda: _next_line(file), b""), start=1):
        if waiting is not None:
            yield waiting
            waiting = None
        try:
            yield from_line(line)
        except RecordError as error:
            waiting = Damage(path, number, str(error), torn=False)
    if waiting is not None:
        yield Damage(path, waiting.line, waiting.reason, torn=True)


def _next_line(file: BinaryIO) -> bytes:
    """One line, b"" at the end; of one longer than MAX_LINE only the beginning."""
    line = file.readline(MAX_LINE + 1)
    piece = line
    while len(piece) > MAX_LINE and not piece.endswith(b"\n"):
        piece = file.readline(MAX_LINE + 1)
    return line
