"""The workers' signs of life."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, func, select

from orchestrator.domain.fleet import About, Member, about_from
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_or

ALIVE_MS = 20_000
"""A worker that was not seen this long counts as gone; it says so every five seconds."""
FORGET_MS = 86_400_000


def seen(tx: Tx, name: str, *, processes: int, submits: bool, about: About | None = None) -> None:
    statement = insert_or(tx, t.workers).values(
        name=name,
        processes=processes,
        submits=submits,
        seen_at=tx.now,
        about=about.to_json() if about else None,
    )
    new = statement.excluded
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "processes": new.processes,
                "submits": new.submits,
                "seen_at": new.seen_at,
                "about": new.about,
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


def members(tx: Tx) -> list[Member]:
    """The living, with what they say of themselves."""
    c = t.workers.c
    query = select(c.name, c.processes, c.submits, c.about).where(c.seen_at > tx.now - ALIVE_MS)
    return [
        Member(name, processes, bool(submits), about_from(about))
        for name, processes, submits, about in tx.conn.execute(query.order_by(c.name))
    ]


def keys_of(tx: Tx, provider: str) -> dict[str, set[str]]:
    """Account -> the fingerprints of its key with living workers that send to this provider."""
    found: dict[str, set[str]] = {}
    for member in members(tx):
        if member.about is not None and member.about.provider == provider:
            for name, key in member.about.keys.items():
                found.setdefault(name, set()).add(key)
    return found


def heard(tx: Tx, beats: Collection[str]) -> None:
    """Ticks of these beats have come just now."""
    for name in sorted(beats):
        statement = insert_or(tx, t.beats).values(name=name, seen_at=tx.now)
        tx.conn.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"seen_at": statement.excluded.seen_at}
            )
        )
    tx.conn.execute(delete(t.beats).where(t.beats.c.seen_at < tx.now - FORGET_MS))


def beats(tx: Tx) -> list[str]:
    """Those that ticks came from lately."""
    c = t.beats.c
    query = select(c.name).where(c.seen_at > tx.now - ALIVE_MS).order_by(c.name)
    return list(tx.conn.execute(query).scalars())
