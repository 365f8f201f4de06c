"""Letting go of the bulk of finished batches. Keys, states, costs, ids and digests stay."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, exists, func, or_, select, update

from orchestrator.store import batches, history
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.history import Entry

NOTHING = "{}"
"""An item's own columns once they are let go."""


def candidates(tx: Tx, finished_before: int) -> list[Batch]:
    """Batches that ended before, with nobody needed, oldest first."""
    c = t.batches.c
    query = select(c.id).where(
        c.finished_at < finished_before, c.published_at.is_not(None), c.archived_at.is_(None)
    )
    ids = tx.conn.execute(query.order_by(c.finished_at, c.id)).scalars()
    return [batches.get(tx, batch_id) for batch_id in ids if not waits(tx, batch_id)]


def waits(tx: Tx, batch_id: int) -> bool:
    """Whether a person is needed for a purchase of the batch."""
    s = t.submissions.c
    needed = exists().where(s.batch_id == batch_id, s.needs_person.is_not(None))
    return bool(tx.conn.execute(select(needed)).scalar_one())


@dataclass(frozen=True, slots=True)
class Stripped:
    """The last item of a group, and how much it let go: rows of outputs and of history."""

    last: int
    items: int
    outputs: int
    lines: int


def strip(tx: Tx, batch_id: int, after: int, limit: int) -> Stripped | None:
    """Let go of the bulk of the next items by id; None at the end, or where the batch is open.

    The batch stays locked meanwhile: nothing of it is bought anew in between.
    """
    if batches.lock(tx, batch_id).finished_at is None:
        return None
    i, s, o, h = t.items.c, t.submissions.c, t.outputs.c, t.history.c
    chosen = select(i.id).where(i.batch_id == batch_id, i.id > after).order_by(i.id).limit(limit)
    ids = list(tx.conn.execute(chosen).scalars())
    if not ids:
        return None
    tx.conn.execute(
        update(t.items)
        .where(i.id.in_(ids), (i.source != NOTHING) | i.error_message.is_not(None))
        .values(source=NOTHING, error_message=None)
    )
    bought = s.item_id.in_(ids)
    texts = {"error_text": None, "events_json": None, "error_message": None, "raw_status": None}
    full = or_(*(s[name].is_not(None) for name in texts))
    tx.conn.execute(update(t.submissions).where(bought, full).values(**texts))
    of_them = select(s.id).where(bought)
    outputs = tx.conn.execute(delete(t.outputs).where(o.submission_id.in_(of_them))).rowcount
    lines = tx.conn.execute(delete(t.history).where(h.item_id.in_(ids))).rowcount
    return Stripped(ids[-1], len(ids), outputs, lines)


def finish(tx: Tx, batch_id: int, *, actor: str) -> bool:
    """Everything was let go; False where the batch was opened again meanwhile."""
    c = t.batches.c
    done = tx.conn.execute(
        update(t.batches)
        .where(c.id == batch_id, c.finished_at.is_not(None), c.archived_at.is_(None))
        .values(archived_at=tx.now)
    ).rowcount
    if done:
        history.append(tx, actor, [Entry(batch_id, "archived")])
    return bool(done)


def oldest_kept(tx: Tx) -> int:
    """Since when inputs may still be needed: the first batch that is not archived was made then."""
    c = t.batches.c
    query = select(func.min(c.created_at)).where(c.archived_at.is_(None))
    return tx.conn.execute(query).scalar_one() or tx.now
