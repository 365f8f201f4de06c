"""The price book: what a provider last asked for a class of inputs."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.domain.money import Cost
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx


def known(tx: Tx, provider: str) -> dict[str, int]:
    """Price class -> nano-dollars."""
    query = select(t.prices.c.price_class, t.prices.c.nanos).where(t.prices.c.provider == provider)
    return {row.price_class: row.nanos for row in tx.conn.execute(query)}


def learn(tx: Tx, provider: str, learned: Mapping[str, Cost]) -> None:
    """Remember what was just asked for; the newest figure counts."""
    if not learned:
        return
    dialect = postgresql if tx.locks_rows else sqlite
    statement = dialect.insert(t.prices)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["provider", "price_class"],
        set_={"nanos": new.nanos, "text": new.text, "learned_at": new.learned_at},
    )
    tx.conn.execute(
        statement,
        [
            {
                "provider": provider,
                "price_class": name,
                "nanos": cost.nanos,
                "text": cost.text,
                "learned_at": tx.now,
            }
            for name, cost in sorted(learned.items())
        ],
    )
