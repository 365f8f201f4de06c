"""What all journals together say of one batch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain.money import AmountError, Cost, parse_amount
from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.recovery import End, TakenOver, Told
from orchestrator.journal.fields import RecordError, compact
from orchestrator.journal.reader import Damage, paths, read, read_files
from orchestrator.journal.record import (
    Batch,
    Control,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Reused,
    Terminal,
    Verdict,
    VerdictKind,
    from_line,
)

_COSTLESS = frozenset(
    {
        OutcomeKind.REJECTED,
        OutcomeKind.NOTHING_CHARGED,
        OutcomeKind.GATED,
        OutcomeKind.NOT_SENT,
    }
)


@dataclass(slots=True)
class Book:
    """One batch as the journals remember it; `submissions` by idempotency key."""

    batch: Batch | None = None
    control: Control | None = None
    submissions: dict[str, Told] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    """Lines that were safe once and cannot be read: something may be missing."""

    @property
    def first_intent_at(self) -> int | None:
        times = (told.first_sent_at for told in self.submissions.values())
        return min((at for at in times if at is not None), default=None)


def read_batch(directories: Sequence[Path], *, namespace: str, name: str, label: str) -> Book:
    """Gather everything about a batch. Raises ServiceError for a journal that cannot be read.

    Read twice: an outcome may stand in a file that comes before its intent's.
    """
    book = Book()
    title = (namespace, name, label)
    for entry in _records(directories):
        if isinstance(entry, Damage):
            if not entry.torn:
                book.damage.append(entry)
        elif isinstance(entry, Batch | Control | Intent | Reused):
            _note_batch(book, entry, title)
    for entry in _records(directories):
        if isinstance(entry, Outcome | Terminal | Verdict):
            told = book.submissions.get(entry.idempotency_key)
            if told is not None:
                _note_answer(told, entry)
    return book


Title = tuple[str, str, str]
"""A batch's namespace, name and label."""


@dataclass(slots=True)
class Gathered:
    """What some files say, by batch; `loose` is told of purchases whose intent is elsewhere."""

    books: dict[Title, Book] = field(default_factory=dict)
    loose: dict[str, Told] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)


def gather(files: Sequence[Path]) -> Gathered:
    """Everything that these files say. Raises ServiceError for one that cannot be read.

    A file that is gone meanwhile was compacted: another holds what it said.
    """
    found = Gathered()
    by_key: dict[str, Told] = {}
    for entry in read_files(files):
        if isinstance(entry, Damage):
            if not entry.torn:
                found.damage.append(entry)
        elif isinstance(entry, Batch | Control | Intent | Reused):
            title = _title(entry)
            book = found.books.setdefault(title, Book())
            _note_batch(book, entry, title)
            if isinstance(entry, Intent | Reused):
                by_key[entry.idempotency_key] = book.submissions[entry.idempotency_key]
    for entry in read_files(files):
        if isinstance(entry, Outcome | Terminal | Verdict):
            key = entry.idempotency_key
            told = by_key.get(key)
            if told is None:
                told = found.loose.setdefault(key, Told(key, "", 0, "", "", "", ""))
            _note_answer(told, entry)
    return found


def _title(record: Batch | Control | Intent | Reused) -> Title:
    name = record.batch if isinstance(record, Intent | Reused) else record.name
    return (record.namespace, name, record.label)


def _records(directories: Sequence[Path]) -> Iterator[Record | Damage]:
    for directory in directories:
        yield from read(directory)


def knows(directories: Sequence[Path], *, namespace: str, name: str, label: str) -> bool:
    """Whether a batch ever journalled what it buys or takes over. Stops at the first."""
    files = (path for directory in directories for path in paths(directory))
    title = (namespace, name, label)
    return any(next(_keys(path, title), None) is not None for path in files)


def keys_in(path: Path, *, namespace: str, name: str, label: str) -> set[str]:
    """The idempotency keys of a batch's intents, and of what it took over, in one file."""
    return set(_keys(path, (namespace, name, label)))


def _keys(path: Path, title: tuple[str, str, str]) -> Iterator[str]:
    # The line is looked at as it was written before it is parsed: most are another batch's.
    names = dict(zip(("namespace", "batch", "label"), title, strict=True))
    wanted = compact(names)[1:-1].encode()
    with path.open("rb") as file:
        for line in file:
            if wanted in line:
                try:
                    record = from_line(line)
                except RecordError:
                    continue
                if isinstance(record, Intent | Reused):
                    yield record.idempotency_key


def written_now(files: Sequence[Path]) -> list[Path]:
    """Those of these files that a living process still writes to."""
    busy = []
    for path in files:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            busy.append(path)
        finally:
            os.close(descriptor)
    return busy


def _note_batch(
    book: Book, record: Batch | Control | Intent | Reused, title: tuple[str, str, str]
) -> None:
    if _title(record) != title:
        return
    match record:
        case Intent():
            _note_intent(book, record)
        case Reused():
            taken = TakenOver(record.task_id, record.videos, record.source)
            _told(book, record).taken_over = taken
        case Batch():
            if book.batch is None or record.at >= book.batch.at:
                book.batch = record
        case Control():
            if book.control is None or record.at >= book.control.at:
                book.control = record


def _note_intent(book: Book, intent: Intent) -> None:
    told = _told(book, intent)
    told.hold_nanos = max(told.hold_nanos, intent.hold_nanos or 0)
    told.tries = max(told.tries, intent.try_)
    claim = _claim(intent.claim, intent.try_)
    told.attempts[claim] = min(intent.at, told.attempts.get(claim, intent.at))


def _told(book: Book, record: Intent | Reused) -> Told:
    """What is gathered of a submission, begun where it is named for the first time."""
    told = book.submissions.get(record.idempotency_key)
    if told is None:
        told = book.submissions[record.idempotency_key] = Told(
            idempotency_key=record.idempotency_key,
            row_key=record.row_key,
            generation=record.generation,
            model=record.model,
            digest=record.digest,
            price_class=record.price_class,
            account=record.key_fingerprint,
            account_at=record.at,
        )
    told.account_at, told.account = max(
        (told.account_at, told.account), (record.at, record.key_fingerprint)
    )
    return told


def _claim(claim: str, try_: int | None) -> str:
    """What pairs an outcome with its intent; files without claims have the try's number."""
    return claim or f"try {try_}"


def _note_answer(told: Told, record: Outcome | Terminal | Verdict) -> None:
    match record:
        case Outcome(kind=OutcomeKind.ACCEPTED):
            _note_accepted(told, record)
        case Outcome():
            if record.kind in _COSTLESS:
                told.settled.add(_claim(record.claim, record.try_))
            if record.kind is OutcomeKind.REJECTED:
                told.rejected_at = record.at
        case Terminal():
            _note_end(told, record)
        case Verdict(verdict=VerdictKind.ADOPTED):
            # A person's word on which task it is counts above what was answered.
            told.task_id = record.task_id
            told.adopted = True
        case Verdict(verdict=VerdictKind.CHARGED):
            told.charged = _cost(record.cost)
        case Verdict(verdict=VerdictKind.DOUBLE_CHARGE_ACCEPTED):
            told.written_off = True
        case Verdict(verdict=VerdictKind.NOT_CHARGED):
            told.cleared_until = max(told.cleared_until, record.at)


def _note_accepted(told: Told, record: Outcome) -> None:
    """The earliest acceptance counts, whatever the order of the files."""
    if told.accepted_at is not None and record.at >= told.accepted_at:
        return
    told.accepted_at = record.at
    if not told.adopted:
        told.task_id = record.task_id or told.task_id
    told.request_id = record.request_id or told.request_id
    told.estimate = _cost(record.cost_estimate) or told.estimate


def _note_end(told: Told, record: Terminal) -> None:
    """The end with an actual cost counts above one with an assumed; else the earlier one."""
    try:
        status = TaskStatus(record.state)
    except ValueError:
        # A later version's word: the task is asked about instead.
        told.task_id = told.task_id or record.task_id
        return
    rank = ends_rank(record)
    if told.end_rank is not None and rank >= told.end_rank:
        return
    told.end_rank = rank
    told.task_id = told.task_id or record.task_id
    told.end = End(
        status,
        _cost(record.cost_actual),
        _cost(record.cost_assumed),
        record.videos,
        record.error_code,
        record.error_message,
    )


def ends_rank(record: Terminal) -> tuple[bool, int]:
    """Which of several ends of one purchase counts: the least."""
    return (record.cost_actual is None, record.at)


def _cost(text: str | None) -> Cost | None:
    try:
        return None if text is None else parse_amount(text)
    except AmountError:
        return None
