"""Events for the outside: written in the transaction that made them true, delivered afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_ignoring

FORGOTTEN_AFTER_MS = 3 * 86_400_000
"""What nobody took for so long is news no more."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `event_id` is the same at every try, `payload` is JSON."""

    id: int
    event_id: str
    kind: str
    payload: str
    created_at: int
    tries: int


def add(tx: Tx, *, event_id: str, batch_id: int | None, kind: str, payload: str) -> None:
    """Have an event delivered; one that is there already is not added again."""
    statement = insert_ignoring(tx, t.outbox).values(
        event_id=event_id,
        batch_id=batch_id,
        kind=kind,
        payload=payload,
        created_at=tx.now,
        due_at=tx.now,
    )
    tx.conn.execute(statement)


def claim(tx: Tx, *, until: int, limit: int) -> list[Event]:
    """Events that are due, kept from everybody else until `until`."""
    o = t.outbox.c
    columns = [o[name] for name in Event.__dataclass_fields__]
    query = (
        select(*columns)
        .where(
            o.delivered_at.is_(None),
            o.due_at <= tx.now,
            o.created_at > tx.now - FORGOTTEN_AFTER_MS,
        )
        .order_by(o.id)
        .limit(limit)
    )
    if tx.locks_rows:
        query = query.with_for_update(skip_locked=True)
    found = [Event(*row) for row in tx.conn.execute(query)]
    if found:
        tx.conn.execute(
            update(t.outbox)
            .where(o.id.in_([event.id for event in found]))
            .values(due_at=until, tries=o.tries + 1)
        )
    return found


def delivered(tx: Tx, event: Event) -> None:
    o = t.outbox.c
    tx.conn.execute(update(t.outbox).where(o.id == event.id).values(delivered_at=tx.now))


def postpone(tx: Tx, event: Event, until: int) -> None:
    """It was not taken: once more at `until`."""
    o = t.outbox.c
    tx.conn.execute(
        update(t.outbox).where(o.id == event.id, o.delivered_at.is_(None)).values(due_at=until)
    )
