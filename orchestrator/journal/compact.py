"""Makes old journals smaller: of a purchase whose end is known, three lines say all.

Nothing is forgotten: every submission keeps its first intent, and one whose end is not known keeps
every line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from orchestrator.journal.merge import ends_rank
from orchestrator.journal.reader import Damage, paths, read_file
from orchestrator.journal.record import (
    Batch,
    Control,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Terminal,
)
from orchestrator.journal.writer import JournalWriter

_GROUP = 1000


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of a directory: files and bytes before and after; `kept` could not be touched."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    kept: tuple[str, ...]


@dataclass(slots=True)
class _Ends:
    """What is known of ended purchases: key -> time of the first intent."""

    ended: set[str] = field(default_factory=set)
    first: dict[str, int] = field(default_factory=dict)
    sender: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Time and account of the last one."""
    accepted: dict[str, int] = field(default_factory=dict)
    end: dict[str, tuple[bool, int]] = field(default_factory=dict)
    newest: dict[tuple[str, ...], Batch | Control] = field(default_factory=dict)


def compact(
    directory: Path, *, moved: Callable[[Sequence[str], Sequence[str]], None] = lambda _o, _n: None
) -> Compacted:
    """Rewrite the files that nobody writes to. `moved(old names, new names)` before the old go.

    A damaged file stays as it is, and so does one that is being written. A crash leaves records
    twice, which a merge does not mind. Raises ServiceError where the journal cannot be written.
    """
    with ExitStack() as stack:
        everything = paths(directory)
        mine = [path for path in everything if _lock(stack, path) and _whole(path)]
        kept = tuple(path.name for path in everything if path not in mine)
        before = sum(path.stat().st_size for path in mine)
        if not mine:
            return Compacted(0, 0, 0, 0, kept)
        ends = _survey(mine)
        names: list[str] = []
        writer = JournalWriter(directory, created=names.append)
        try:
            records = _kept(mine, ends)
            while group := list(islice(records, _GROUP)):
                writer.append(group)
        finally:
            writer.close()
        moved([path.name for path in mine], names)
        for path in mine:
            path.unlink()
        after = sum((directory / name).stat().st_size for name in names)
    return Compacted(len(mine), len(names), before, after, kept)


def _lock(stack: ExitStack, path: Path) -> bool:
    """Whether no living process writes to the file; it stays locked until the end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(path: Path) -> Iterator[Record | Damage]:
    with path.open("rb") as file:
        yield from read_file(path, file)


def _whole(path: Path) -> bool:
    return not any(isinstance(entry, Damage) and not entry.torn for entry in _entries(path))


def _records(files: Sequence[Path]) -> Iterator[Record]:
    for path in files:
        yield from (entry for entry in _entries(path) if not isinstance(entry, Damage))


def _survey(files: Sequence[Path]) -> _Ends:
    ends = _Ends()
    for record in _records(files):
        match record:
            case Terminal(idempotency_key=key):
                ends.ended.add(key)
                rank = ends_rank(record)
                ends.end[key] = min(rank, ends.end.get(key, rank))
            case Outcome(kind=OutcomeKind.ACCEPTED, idempotency_key=key):
                ends.accepted[key] = min(record.at, ends.accepted.get(key, record.at))
            case Intent():
                known = ends.first.get(record.idempotency_key, record.at)
                ends.first[record.idempotency_key] = min(known, record.at)
                sender = record.at, record.key_fingerprint
                ends.sender[record.idempotency_key] = max(
                    sender, ends.sender.get(record.idempotency_key, sender)
                )
            case Batch() | Control():
                title = (record.KIND, record.namespace, record.name, record.label)
                newest = ends.newest.get(title)
                if newest is None or record.at >= newest.at:
                    ends.newest[title] = record
    return ends


def _kept(files: Sequence[Path], ends: _Ends) -> Iterator[Record]:
    yield from ends.newest.values()
    first = dict(ends.first)
    accepted, end = dict(ends.accepted), dict(ends.end)
    for record in _records(files):
        match record:
            case Batch() | Control():
                continue
            case Intent(idempotency_key=key) if key in ends.ended:
                if first.get(key) == record.at:
                    del first[key]
                    yield replace(record, key_fingerprint=ends.sender[key][1])
            case Outcome(idempotency_key=key) if key in ends.ended:
                if record.kind is OutcomeKind.ACCEPTED and accepted.get(key) == record.at:
                    del accepted[key]
                    yield record
            case Terminal(idempotency_key=key):
                if end.get(key) == ends_rank(record):
                    del end[key]
                    yield record
            case _:
                yield record
