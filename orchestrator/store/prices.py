"""The price book: what a provider last asked for a class of inputs, else what a file says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Table, Text, bindparam, cast, literal, null, select, union_all

from orchestrator.domain.money import Cost
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_or


@dataclass(frozen=True, slots=True)
class Price:
    """Of one row, in nano-dollars; `at` in milliseconds.

    `source` names the price file that it is from, None for the provider's own answer. `listed` is
    what a file says where the provider's answer is known: the answer counts.
    """

    nanos: int
    at: int
    source: str | None = None
    listed: int | None = None


_P, _F = t.prices.c, t.listed_prices.c
_BOOK = union_all(
    select(_F.price_class, _F.nanos, _F.listed_at, _F.source, literal(0).label("rank")).where(
        _F.provider == bindparam("of")
    ),
    select(_P.price_class, _P.nanos, _P.learned_at, cast(null(), Text), literal(1)).where(
        _P.provider == bindparam("of")
    ),
).order_by("rank")
"""Made once: it is asked for each chunk."""


def known(tx: Tx, provider: str) -> dict[str, int]:
    """Price class -> nano-dollars."""
    return {name: price.nanos for name, price in book(tx, provider).items()}


def book(tx: Tx, provider: str) -> dict[str, Price]:
    """Price class -> price, with where it is from."""
    found: dict[str, Price] = {}
    for name, nanos, at, source, rank in tx.conn.execute(_BOOK, {"of": provider}):
        listed = found[name].nanos if rank and name in found else None
        found[name] = Price(nanos, at, source, listed)
    return found


def overlay(
    found: Mapping[str, Price], listed: Mapping[str, Cost], source: str, at: int
) -> dict[str, Price]:
    """The book as it would be with this file's prices in it."""
    after = dict(found)
    for name, cost in listed.items():
        before = found.get(name)
        if before is None or before.source is not None:
            after[name] = Price(cost.nanos, at, source)
        else:
            after[name] = Price(before.nanos, before.at, None, cost.nanos)
    return after


def learn(tx: Tx, provider: str, learned: Mapping[str, Cost]) -> None:
    """Remember what was just asked for; the newest figure counts."""
    _put(tx, t.prices, provider, learned, {"learned_at": tx.now})


def put_listed(tx: Tx, provider: str, listed: Mapping[str, Cost], source: str) -> None:
    """Remember a file's prices: they count until the provider names its own."""
    _put(tx, t.listed_prices, provider, listed, {"listed_at": tx.now, "source": source})


def _put(
    tx: Tx, table: Table, provider: str, costs: Mapping[str, Cost], more: Mapping[str, object]
) -> None:
    if not costs:
        return
    statement = insert_or(tx, table)
    statement = statement.on_conflict_do_update(
        index_elements=["provider", "price_class"],
        set_={name: statement.excluded[name] for name in ("nanos", "text", *more)},
    )
    tx.conn.execute(
        statement,
        [
            {
                "provider": provider,
                "price_class": name,
                "nanos": cost.nanos,
                "text": cost.text,
                **more,
            }
            for name, cost in sorted(costs.items())
        ],
    )
