"""The append-only history."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import insert, literal, select
from sqlalchemy.sql import ColumnElement

from orchestrator.domain.states import Event, State
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_many


class Entry(NamedTuple):
    """One thing that happened; `detail` is a sentence for people."""

    batch_id: int
    event: str
    item_id: int | None = None
    submission_id: int | None = None
    state: str | None = None
    detail: str | None = None


_COLUMNS = ["at", "actor", *Entry._fields]


def _plain(word: str | None) -> str | None:
    """Plain text, which every driver knows."""
    return str(word) if isinstance(word, StrEnum) else word


def append(tx: Tx, actor: str, entries: Sequence[Entry]) -> None:
    if entries:
        rows = (
            (tx.now, actor, batch_id, _plain(event), item_id, submission_id, _plain(state), detail)
            for batch_id, event, item_id, submission_id, state, detail in entries
        )
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
