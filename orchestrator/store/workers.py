"""The workers' signs of life."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.store import tables as t
from orchestrator.store.engine import Tx

ALIVE_MS = 20_000
"""A worker that was not seen this long counts as gone; it says so every five seconds."""
FORGET_MS = 86_400_000


def seen(tx: Tx, name: str, *, processes: int, submits: bool) -> None:
    dialect = postgresql if tx.locks_rows else sqlite
    statement = dialect.insert(t.workers).values(
        name=name, processes=processes, submits=submits, seen_at=tx.now
    )
    new = statement.excluded
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "processes": new.processes,
                "submits": new.submits,
                "seen_at": new.seen_at,
            },
        )
    )
    tx.conn.execute(delete(t.workers).where(t.workers.c.seen_at < tx.now - FORGET_MS))


def gone(tx: Tx, name: str) -> None:
    tx.conn.execute(delete(t.workers).where(t.workers.c.name == name))


def submitting_processes(tx: Tx) -> int:
    """How many processes of living workers take submit chunks."""
    c = t.workers.c
    query = select(func.sum(c.processes)).where(c.submits, c.seen_at > tx.now - ALIVE_MS)
    return int(tx.conn.execute(query).scalar_one() or 0)


def alive(tx: Tx) -> list[str]:
    c = t.workers.c
    query = select(c.name).where(c.seen_at > tx.now - ALIVE_MS).order_by(c.name)
    return list(tx.conn.execute(query).scalars())
