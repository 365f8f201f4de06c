"""A database that went back: sending stops until every worker has put back what it knows.

Each worker process looks every few seconds (`Rejoiner.run_once`). Whoever sees that the server is
on another timeline, or older than it was, or than a journal says, closes the way for all. Then each
process merges the journal that it writes, and the journals that nobody writes any more, with the
merge that `recover` uses; once all files are in, sending goes on by itself.

A process merges while it works at no chunk, so whatever it still sent stands in its journal by
then. A new process does the same once before its first chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import journal
from orchestrator.domain.batch import Wanted
from orchestrator.domain.gate import KINDS
from orchestrator.domain.lineage import Identity, replaced
from orchestrator.domain.outcome import GateReason
from orchestrator.domain.recovery import Told
from orchestrator.errors import ServiceError
from orchestrator.journal import Book, Gathered, Title
from orchestrator.services.context import Context
from orchestrator.services.merging import GROUP, Report, grouped, merge_group
from orchestrator.store import batches, gates, lineage, lives, restoring, steering
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.gates import Gate
from orchestrator.store.lineage import Lineage

SILENCE_SECONDS = 15.0
"""Nothing is sent on the strength of a database that has not answered for so long."""


def bar(context: Context) -> str | None:
    """Why this process must not send now, as far as it knows without asking; else None."""
    store = context.store
    if store.went_back is not None:
        return f"{store.went_back}, and the journal is not merged yet"
    if store.silence > SILENCE_SECONDS:
        return "the database has not answered for some time"
    return None


def refuse(tx: Tx) -> None:
    """Raises ServiceError while the database may not know what was sent."""
    reason = lineage.closed(tx)
    if reason is not None:
        kind = KINDS[GateReason.DATABASE_WENT_BACK]
        raise ServiceError(
            f"{kind.sentence} ({reason}); {waiting_for(tx)}",
            mend=kind.mend,
            code=GateReason.DATABASE_WENT_BACK.value,
        )


def gate(tx: Tx) -> Gate | None:
    """What bars the way of every batch while the database does not know what was sent."""
    now = lineage.read(tx)
    if now is None or now.closed_at is None:
        return None
    kind = KINDS[GateReason.DATABASE_WENT_BACK]
    return Gate(
        id=0,
        provider="",
        account="",
        model=gates.ANY_MODEL,
        reason=GateReason.DATABASE_WENT_BACK,
        message=f"{kind.sentence} ({now.reason}); {waiting_for(tx)}",
        mend=kind.mend,
        closings=1,
        closed_at=now.closed_at,
        until=None,
        probe_at=None,
    )


def waiting_for(tx: Tx) -> str:
    """Whose journals are missing, as a sentence's end."""
    hosts: dict[str, int] = {}
    for file in lineage.missing(tx):
        hosts[file.host] = hosts.get(file.host, 0) + 1
    if not hosts:
        return "all known journals are merged"
    named = ", ".join(f"{number} of {host}" for host, number in hosts.items())
    return f"waiting for journals: {named}"


@dataclass(slots=True)
class Rejoiner:
    """One worker process's part. `own` names the file it writes to; `quiet` waits until it works
    at no chunk, and keeps it from beginning one.
    """

    context: Context
    host: str
    own: Callable[[], Path | None]
    quiet: Callable[[], AbstractContextManager[object]]
    grace: int
    joined: str | None = None
    """The epoch in which this process has merged what it knows."""
    reports: list[str] = field(default_factory=list)
    """What was done, for the log."""

    def __post_init__(self) -> None:
        # Not only at the next look: others may not see any more what this process sees.
        self.context.store.alarm = lambda tx: self._judge(tx, lineage.identity(tx))

    def run_once(self) -> bool:
        """Look, and do what is to be done; returns whether sending may go on."""
        now = self._look()
        if now.epoch != self.joined or (now.closed_at is not None and self._ended_files()):
            with self.quiet():
                now = self._join(now)
        if now.closed_at is None:
            return True
        with self.context.store.write() as tx:
            opened = lineage.open_again(tx, grace=self.grace)
        if opened:
            self.reports.append("every journal is merged: sending goes on")
        return opened

    def _look(self) -> Lineage:
        """The lineage as it is now, closed if the server is not what it was."""
        store = self.context.store
        with store.read() as tx:
            now, found = lineage.read(tx), lineage.identity(tx)
        known = now is not None and (now.timeline is not None or found.timeline is None)
        if now and known and self._doubt is None and not replaced(now.identity, found):
            return now
        with store.write() as tx:
            self._judge(tx, found)
            return lineage.lock(tx, found)

    @property
    def _doubt(self) -> str | None:
        """Why what this process has committed may be lost, if it ever had it all in order."""
        return self.context.store.went_back if self.joined is not None else None

    def _judge(self, tx: Tx, found: Identity) -> None:
        """Close the way if the server is not what it was."""
        now, doubt = lineage.lock(tx, found), self._doubt
        moved = replaced(now.identity, found)
        if now.timeline is None and found.timeline is not None:
            lineage.note(tx, found)
        if moved is not None or (doubt is not None and not self._is_told(now)):
            self._close(tx, moved or doubt or "", found)
        elif doubt is not None and now.closed_at is None:
            # The others went on without this one, which they did not know of.
            lineage.close(tx, doubt)

    def _is_told(self, now: Lineage) -> bool:
        """Whether another noticed what this process sees: after it last saw all well."""
        seen = self.context.store.last_sighting
        return seen is not None and now.noticed_at > seen.at and now.epoch != self.joined

    def _close(self, tx: Tx, reason: str, found: Identity) -> None:
        lineage.close(tx, reason, found)
        self.reports.append(f"{reason}: nothing is sent until every journal is merged")

    def _join(self, now: Lineage) -> Lineage:
        """Merge what this process alone may know, and what dead ones have left."""
        store, own, ended = self.context.store, self.own(), self._ended_files()
        files = ended if own is None else [own, *ended]
        gathered = journal.gather(files)
        if now.closed_at is None and _is_older(self.context, gathered):
            with store.write() as tx:
                self._close(tx, "the database is older than the journal", lineage.identity(tx))
        merged = merge_all(self.context, gathered)
        with store.write() as tx:
            over = [path.name for path in ended]
            lineage.learned(tx, [path.name for path in files], self.host, over=over)
            lineage.note_lost(tx, self.host, merged.lost)
            after = lineage.lock(tx, lineage.identity(tx))
        store.trust(None)
        self.joined = after.epoch
        if merged.changed:
            self.reports.append(f"{merged.changed} purchases put back from {len(files)} journals")
        for name, label in merged.lost:
            self.reports.append(f"the journal knows {name}@{label}, the database does not")
        return after

    def _ended_files(self) -> list[Path]:
        """Journals of this machine that nobody writes to and that may hold something new."""
        directory = self.context.journal_dir
        if directory is None:
            return []
        known = {path.name: path for path in journal.paths(directory)}
        with self.context.store.read() as tx:
            names = restoring.incomplete_journals(tx, list(known))
        busy = set(journal.written_now([known[name] for name in names]))
        return [known[name] for name in names if known[name] not in busy]


@dataclass(slots=True)
class Merged:
    """`lost`: batches (name, label) that the database does not know -> purchases of them."""

    changed: int = 0
    lost: dict[tuple[str, str], int] = field(default_factory=dict)


def merge_all(context: Context, gathered: Gathered) -> Merged:
    """Put what some files say into the database, beside workers that go on."""
    done = Merged()
    for title, book in sorted(gathered.books.items()):
        batch = _batch_of(context, title)
        if batch is None:
            sent = sum(1 for told in book.submissions.values() if told.attempts)
            if title[0] == context.namespace and sent:
                done.lost[title[1], title[2]] = sent
            continue
        done.changed += _merge_book(context, batch, book)
    for group in grouped(gathered.loose.values()):
        done.changed += _merge_loose(context, group)
    return done


def _batch_of(context: Context, title: Title) -> Batch | None:
    namespace, name, label = title
    with context.store.read() as tx:
        found = batches.find(tx, name, label)
    known = found is not None and found.published_at is not None and found.namespace == namespace
    return found if known else None


def _merge_book(context: Context, batch: Batch, book: Book) -> int:
    report = Report(batch)
    for group in grouped(book.submissions.values()):
        with context.store.write() as tx:
            batches.lock(tx, batch.id)
            merge_group(tx, context, batch, group, report, beside_workers=True)
            steering.reopen_if_open(tx, batch.id)
    if book.control is not None:
        with context.store.write() as tx:
            batches.lock(tx, batch.id)
            word = book.control
            steering.want_as_of(
                tx,
                batch.id,
                Wanted(word.wanted),
                budget_nanos=word.budget_nanos,
                at=word.at,
                actor=context.actor,
            )
    return report.ended + report.by_task + report.by_key + report.for_person


def _merge_loose(context: Context, group: Sequence[Told]) -> int:
    """Answers whose intent stands in another file: merged where the database knows the purchase."""
    with context.store.read() as tx:
        known = lives.by_key(tx, [told.idempotency_key for told in group])
    changed = 0
    for batch_id, words in sorted(_by_batch(group, known).items()):
        with context.store.write() as tx:
            batch = batches.lock(tx, batch_id)
            report = Report(batch)
            merge_group(tx, context, batch, words, report, beside_workers=True)
            changed += report.ended + report.by_task + report.by_key + report.for_person
    return changed


def _by_batch(group: Iterable[Told], known: dict[str, lives.Stored]) -> dict[int, list[Told]]:
    found: dict[int, list[Told]] = {}
    for told in group:
        stored = known.get(told.idempotency_key)
        if stored is not None:
            # Which try was refused is not known without its intent.
            told.rejected_at = None
            found.setdefault(stored.batch_id, []).append(told)
    return found


def _is_older(context: Context, gathered: Gathered) -> bool:
    """Whether a journal has an intent that this database, which knows the batch, has not.

    An intent is committed before it is journalled, so that cannot be while nothing was lost.
    """
    for title, book in gathered.books.items():
        if _batch_of(context, title) is None:
            continue
        sent = [told for told in book.submissions.values() if told.attempts]
        for start in range(0, len(sent), GROUP):
            group = sent[start : start + GROUP]
            with context.store.read() as tx:
                known = lives.by_key(tx, [told.idempotency_key for told in group])
            if any(_ahead(told, known.get(told.idempotency_key)) for told in group):
                return True
    return False


def _ahead(told: Told, stored: lives.Stored | None) -> bool:
    # A try that was not sent after all is taken off again.
    return stored is None or stored.life.tries < told.tries - 1
