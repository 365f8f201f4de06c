"""The append-only history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter

from sqlalchemy import insert, literal, select
from sqlalchemy.sql import ColumnElement

from orchestrator.domain.states import Event, State
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx, insert_many


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `detail` is a sentence for people."""

    batch_id: int
    event: str
    item_id: int | None = None
    submission_id: int | None = None
    state: str | None = None
    detail: str | None = None


_FIELDS = [field.name for field in fields(Entry)]
_COLUMNS = ["at", "actor", *_FIELDS]
_values = attrgetter(*_FIELDS)


def _values_of(entry: Entry) -> tuple[object, ...]:
    """The entry's columns; plain text for its words, which no driver has to know."""
    return tuple(str(v) if isinstance(v, StrEnum) else v for v in _values(entry))


def append(tx: Tx, actor: str, entries: Sequence[Entry]) -> None:
    if entries:
        rows = ((tx.now, actor, *_values_of(entry)) for entry in entries)
        insert_many(tx, t.history, _COLUMNS, rows)


def append_each(
    tx: Tx,
    actor: str,
    which: ColumnElement[bool],
    *,
    event: Event,
    state: State,
    detail: str | None = None,
) -> None:
    """The same thing happens to each of the items that `which` names; called before it is done."""
    told = {"at": tx.now, "actor": actor, "event": event.value, "state": state.value}
    told |= {"detail": detail}
    columns = [literal(value) for value in told.values()]
    items = select(*columns, t.items.c.batch_id, t.items.c.id).where(which)
    tx.conn.execute(insert(t.history).from_select([*told, "batch_id", "item_id"], items))
