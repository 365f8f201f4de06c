"""The append-only history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert

from orchestrator.store import tables as t
from orchestrator.store.engine import Tx


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `detail` is a sentence for people."""

    batch_id: int
    event: str
    item_id: int | None = None
    submission_id: int | None = None
    state: str | None = None
    detail: str | None = None


def append(tx: Tx, actor: str, entries: Sequence[Entry]) -> None:
    if entries:
        rows = [asdict(entry) | {"at": tx.now, "actor": actor} for entry in entries]
        tx.conn.execute(insert(t.history), rows)
