"""From the end that a poll finds to the moment of the next task's first poll."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain import cadence
from orchestrator.domain.sketch import Span, from_json
from orchestrator.domain.states import State
from orchestrator.services import learning, polling
from orchestrator.services.plans import FRESH_SECONDS, Plans
from orchestrator.store import sketches
from orchestrator.store import tables as t
from tests.support.shop import PROVIDER, Shop, accept

MINUTE = 60_000


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


def seen(shop: Shop, price_class: str, *spans: Span) -> None:
    with shop.store.write() as tx:
        sketches.append(tx, PROVIDER, [(price_class, span) for span in spans])


def kept(shop: Shop) -> dict[str, float]:
    """Price class -> how many tasks its sketch holds."""
    with shop.store.read() as tx:
        rows = tx.conn.execute(t.sketches.select()).all()
    return {row.price_class: round(from_json(row.sketch_json).weight) for row in rows}


def waiting(shop: Shop) -> list[tuple[str, int, int]]:
    with shop.store.read() as tx:
        rows = tx.conn.execute(t.run_times.select()).all()
    return [(row.price_class, row.low, row.high) for row in rows]


def bought(shop: Shop) -> dict[str, int | str]:
    with shop.store.read() as tx:
        row = tx.conn.execute(t.submissions.select()).one()
    return dict(row._mapping)


def test_the_end_that_a_poll_finds_is_learned_once(shop: Shop) -> None:
    batch = shop.submit(1)
    shop.buy(shop.due(batch))
    with shop.store.write() as tx:
        accepted_at = tx.now - MINUTE
        tx.conn.execute(
            t.submissions.update().values(
                due_at=0, accepted_at=accepted_at, seen_at=accepted_at + 50_000
            )
        )
    tokens: list[str] = []
    assert polling.run_once(shop.context, lambda token, *_: tokens.append(token)) == 1
    assert [shop.poll(token) for token in tokens * 2] == [1, 0]
    assert shop.counts(batch) == {State.SUCCEEDED: 1}
    ((name, low, high),) = waiting(shop)
    assert low == 50_000
    assert high >= MINUTE
    assert learning.run_once(shop.context) == 1
    assert learning.run_once(shop.context) == 0
    assert kept(shop) == {name: 1}
    assert waiting(shop) == []


def test_the_first_poll_is_where_tasks_begin_to_end(shop: Shop) -> None:
    batch = shop.submit(1)
    with shop.store.read() as tx:
        price_class = str(tx.conn.execute(t.items.select()).one().price_class)
    seen(shop, price_class, *(Span(MINUTE + 300 * n, MINUTE + 300 * n) for n in range(-40, 40)))
    assert learning.run_once(shop.context) == 80
    shop.buy(shop.due(batch))
    row = bought(shop)
    first = int(row["due_at"]) - int(row["accepted_at"])
    assert 0.5 * MINUTE < first < 0.9 * MINUTE


def test_price_classes_are_learned_apart_and_absences_not_at_all(shop: Shop) -> None:
    seen(shop, "std", Span(1_000, 2_000), Span(30_000, 30_000 + learning.ABSENT + 1))
    seen(shop, "pro", Span(1_000, 2_000))
    assert learning.run_once(shop.context) == 3
    assert kept(shop) == {"pro": 1, "std": 1}
    assert waiting(shop) == []


def test_more_than_a_round_takes_is_folded_too(shop: Shop) -> None:
    seen(shop, "std", *[Span(MINUTE, MINUTE)] * (learning.AT_ONCE + 1))
    assert learning.run_once(shop.context) == learning.AT_ONCE + 1
    assert waiting(shop) == []


def test_what_cannot_be_read_is_begun_anew(shop: Shop) -> None:
    seen(shop, "std", *[Span(MINUTE, MINUTE)] * 10)
    learning.run_once(shop.context)
    with shop.store.write() as tx:
        tx.conn.execute(t.sketches.update().values(sketch_json="{", plan_json="[1]"))
    assert Plans().current(shop.context, 0.0) == {}
    seen(shop, "std", *[Span(MINUTE, MINUTE)] * 10)
    learning.run_once(shop.context)
    assert kept(shop) == {"std": 10}
    assert set(Plans().current(shop.context, 0.0)) == {"std"}


def test_a_process_reads_plans_again_when_they_may_be_old(shop: Shop) -> None:
    plans = Plans()
    assert plans.current(shop.context, 0.0) == {}
    seen(shop, "std", *[Span(MINUTE, MINUTE)] * int(cadence.ENOUGH + 1))
    learning.run_once(shop.context)
    assert plans.current(shop.context, FRESH_SECONDS / 2) == {}
    assert set(plans.current(shop.context, FRESH_SECONDS)) == {"std"}
