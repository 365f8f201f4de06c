"""Rows that take an identical earlier success instead of buying it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import journal
from orchestrator.domain.expiry import known_expiry
from orchestrator.errors import ConfigError
from orchestrator.journal import JournalWriter
from orchestrator.services.context import Context
from orchestrator.services.records import batch_record
from orchestrator.spec import SpecRow
from orchestrator.store import restoring, reuse
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.reuse import Earlier, Reuse

GROUP = 1000


def choose(
    tx: Tx,
    batch_id: int,
    provider: str,
    rows: Sequence[SpecRow],
    *,
    used: Collection[str] = frozenset(),
) -> dict[str, Earlier]:
    """Row key -> what the row may take over. Each result goes to one row: takes differ.

    `used`: tasks whose results are given away already, beside those that the database knows of.
    """
    digests = Counter(row.digest for row in rows)
    found = reuse.earlier(tx, batch_id, provider, digests)
    good = {
        digest: [one for one in several if one.task_id not in used and _is_there(one, tx.now)]
        for digest, several in found.items()
    }
    return {row.row_key: good[row.digest].pop(0) for row in rows if good.get(row.digest)}


@dataclass
class Choice:
    """What a whole spec would take over, looked at group by group without writing anything."""

    _used: set[str] = field(default_factory=set)

    def chosen(self, tx: Tx, batch_id: int, provider: str, rows: Sequence[SpecRow]) -> set[str]:
        """The keys of those rows that would take something over."""
        found = choose(tx, batch_id, provider, rows, used=self._used)
        self._used.update(one.task_id for one in found.values())
        return set(found)


def _is_there(one: Earlier, now: int) -> bool:
    """Not where a URL is known to have ended, or to be dead, and its file is not here either."""
    return bool(one.urls) and all(
        (not one.lost and not _ended(url, now))
        or any(_kept(path) for number, path in one.saved if number == ordinal)
        for ordinal, url in one.urls
    )


def _ended(url: str, now: int) -> bool:
    expiry = known_expiry(url)
    return expiry is not None and expiry <= now


def _kept(path: str) -> bool:
    """Whether a saved file is there still; what lies in an object store is believed to be."""
    return "://" in path or Path(path).exists()


def stage(
    tx: Tx, context: Context, batch: Batch, revision_id: int, rows: Sequence[SpecRow]
) -> None:
    """Have the new ones among these staged rows take over what they can."""
    items = reuse.staged(tx, batch.id, revision_id, [row.row_key for row in rows])
    # A row that the batch knew stays as it is, and must not use up what a new one could take.
    new = [row for row in rows if row.row_key in items]
    chosen = choose(tx, batch.id, context.provider, new)
    wanted = [
        Reuse(items[row.row_key], row.price_class, batch.key_of(row, 0), chosen[row.row_key])
        for row in new
        if row.row_key in chosen
    ]
    reuse.put(tx, batch.id, wanted)


def write_down(context: Context, batch: Batch, revision_id: int, *, host: str) -> None:
    """Journal what the revision takes over, before it is published.

    Raises ServiceError where the journal cannot be written, ConfigError where there is none.
    """
    after = 0
    writer = None
    try:
        while True:
            with context.store.read() as tx:
                group = reuse.taken(tx, revision_id, after, GROUP)
                now = tx.now
            if not group:
                return
            writer = writer or _writer(context, host)
            writer.append(
                [batch_record(batch, at=now), *(_record(batch, one, now) for one in group)]
            )
            after = group[-1].submission_id
    finally:
        if writer is not None:
            writer.close()


def _writer(context: Context, host: str) -> JournalWriter:
    if context.journal_dir is None:
        raise ConfigError(
            "there is no journal to write down what is reused", mend="Set ORCHESTRATOR_JOURNAL_DIR."
        )

    def registered(name: str) -> None:
        with context.store.write() as tx:
            restoring.register_journal(tx, name, host)

    return JournalWriter(context.journal_dir, created=registered)


def _record(batch: Batch, one: reuse.Reused, now: int) -> journal.Reused:
    return journal.Reused(
        idempotency_key=one.idempotency_key,
        namespace=batch.namespace,
        batch=batch.name,
        label=batch.label,
        row_key=one.row_key,
        generation=0,
        model=one.model,
        digest=one.digest,
        price_class=one.price_class,
        key_fingerprint=one.account,
        task_id=one.task_id,
        videos=one.videos,
        source=one.reused_from,
        at=now,
    )
