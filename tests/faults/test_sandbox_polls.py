"""Every answer to a poll, and costs that are missing, unreadable or more than was said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.support.served_shop import BUDGET, ServedShop
from tests.support.valkey import short_directory, valkey_server
from tests.support.watched import watched_sandbox

PRICE = 41_400_000
GATES = {
    "unauthorized_401": "unauthorized",
    "status 402": "payment_required",
    "forbidden_403": "forbidden",
    "status 302": "unexpected_status",
    "status 405": "unexpected_status",
}
NO_NEWS = (
    *("error_500", "error_503", "rate_limit_429", "not_found_404", "reset", "hang"),
    *("garbage", "truncated", "empty"),
    *(f"status {code}" for code in (400, 408, 409, 410, 422, 425, 502, 504)),
)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    quick = ("--queue", "0", "--median", "0.3", "--spread", "0")
    with watched_sandbox(tmp_path_factory.mktemp("provider"), *quick) as running:
        yield running


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture
def shop(tmp_path: Path, provider: Sandbox, broker: str) -> Iterator[ServedShop]:
    provider.faults({"on": "poll", "kind": "stuck"})
    made = ServedShop(tmp_path, broker, provider.base_url)
    yield made
    made.close()


def accepted(shop: ServedShop, rows: int = 1, *, budget: int | None = BUDGET) -> None:
    shop.submit(rows, budget=budget)
    assert shop.send() == rows
    assert {row.state for row in shop.rows()} == {"processing"}


def ends(shop: ServedShop, provider: Sandbox, *odd: dict[str, object]) -> None:
    """The tasks come to their end, told as oddly as that."""
    provider.faults(*odd)
    shop.to_the_end()


@pytest.mark.parametrize("name", [*NO_NEWS, *GATES])
def test_a_poll_without_news_costs_nothing(shop: ServedShop, provider: Sandbox, name: str) -> None:
    before = provider.charges
    accepted(shop)
    bought = shop.row()
    kind, _, status = name.partition(" ")
    # A GET on a connection that was dropped is sent once more by the HTTP library itself.
    count = 2 if name == "reset" else 1
    met: dict[str, object] = {"on": "poll", "kind": kind, "count": count, "seconds": 20}
    provider.faults(met | ({"status": int(status)} if status else {}))
    shop.until_due()
    shop.timeout = 0.3 if name == "hang" else shop.timeout
    with shop.store.read() as tx:
        began = tx.now
    assert shop.ask() == 1
    shop.timeout = 5.0
    asked = shop.row()
    assert (asked.state, asked.task_id) == ("processing", bought.task_id)
    assert (asked.hold_nanos, asked.needs_person) == (PRICE, None)
    assert shop.closed() == ([GATES[name]] if name in GATES else [])
    assert asked.due_at >= began + 1000, "not in this tick again"
    ends(shop, provider)
    done = shop.row()
    assert (done.state, done.hold_nanos, done.actual_nanos) == ("succeeded", 0, PRICE)
    assert (len(shop.posts), provider.charges) == (1, before + 1)


def test_a_task_that_cannot_be_found_is_a_persons_after_ten_minutes(
    shop: ServedShop, provider: Sandbox
) -> None:
    accepted(shop)
    provider.faults({"on": "poll", "kind": "late_reads", "seconds": 3600})
    for _ in range(3):
        shop.until_due()
        assert shop.ask() == 1
    assert shop.row().needs_person is None, "reads may lag writes"
    shop.later(600)
    assert shop.ask() == 1
    shop.later(301)
    assert shop.ask() == 1
    lost = shop.row()
    assert (lost.state, lost.needs_person, lost.hold_nanos) == ("processing", "lost", PRICE)
    assert shop.send() == 0
    shop.until_due()
    ends(shop, provider)
    assert (shop.row().state, shop.row().needs_person) == ("succeeded", None)
    assert len(shop.posts) == 1


def test_a_task_that_never_ends_is_overdue_and_still_asked_about(
    shop: ServedShop, provider: Sandbox
) -> None:
    accepted(shop)
    shop.later(3601)
    assert shop.ask() == 1
    late = shop.row()
    assert (late.state, late.needs_person, late.hold_nanos) == ("processing", "overdue", PRICE)
    shop.later(290)
    assert shop.ask() == 0, "but sparsely"
    shop.later(12)
    assert shop.ask() == 1
    assert shop.row().needs_person == "overdue"
    assert shop.send() == 0
    shop.until_due()
    ends(shop, provider)
    assert (shop.row().state, shop.row().needs_person) == ("succeeded", None)
    assert len(shop.posts) == 1


def test_a_success_without_a_cost_is_assumed_to_cost_the_estimate(
    shop: ServedShop, provider: Sandbox
) -> None:
    accepted(shop)
    ends(shop, provider, {"on": "poll", "kind": "no_cost"})
    row = shop.row()
    assert (row.hold_nanos, row.actual_nanos, row.assumed_nanos) == (0, None, PRICE)


def test_without_an_estimate_the_hold_stays_until_the_cost(
    shop: ServedShop, provider: Sandbox
) -> None:
    unsaid = {"kind": "no_estimate"}
    stuck: dict[str, object] = {"on": "poll", "kind": "stuck"}
    provider.faults({"on": "submit"} | unsaid, {"on": "poll"} | unsaid, stuck)
    shop.submit(2)
    assert shop.send() == 1, "one probe holds the whole budget"
    shop.until_due()
    shop.ask()
    assert shop.row().hold_nanos == BUDGET
    assert shop.send() == 0
    ends(shop, provider)
    assert [(row.hold_nanos, row.actual_nanos) for row in shop.rows()] == [(0, PRICE)] * 2


@pytest.mark.parametrize(
    ("on", "cost"),
    [("submit", "NaN"), ("poll", "NaN"), ("poll", "-0.0414"), ("poll", "Infinity"), ("poll", "")],
)
def test_a_cost_that_cannot_be_read_keeps_its_hold_and_stops_the_batch(
    shop: ServedShop, provider: Sandbox, on: str, cost: str
) -> None:
    batch = shop.submit(4)
    provider.faults({"on": on, "kind": "bad_cost", "value": cost})
    sent = shop.send()
    assert sent == (1 if on == "submit" else 2), "one row finds the price out before the others"
    bought = provider.charges
    if on == "poll":
        shop.until_due()
        shop.ask()
    for row in shop.rows():
        assert (row.state, row.needs_person) == ("processing", "cost_unreadable")
        assert (row.hold_nanos, row.actual_nanos) == (BUDGET if on == "submit" else PRICE, None)
    assert shop.batch(batch).stop_code == "cost_unreadable"
    shop.later(3600)
    shop.upkeep()
    assert shop.send() == 0
    assert shop.deliver(shop.may_be_sent(batch)) == 0
    assert (len(shop.posts), provider.charges) == (sent, bought)


def test_costs_above_the_estimate_are_counted_and_stop_at_the_budget(
    shop: ServedShop, provider: Sandbox
) -> None:
    """A budget for six at the price that was said; each costs double, so the second lot passes."""
    provider.faults({"on": "poll", "kind": "cost_above_estimate"})
    batch = shop.submit(10, budget=6 * PRICE)
    for lot in (2, 4):
        shop.until_due()
        shop.send()
        assert shop.batch(batch).held_nanos == 2 * PRICE
        while any(row.state == "processing" for row in shop.rows()):
            shop.until_due()
            shop.ask()
        assert [row.actual_nanos for row in shop.rows()] == [2 * PRICE] * lot
    shop.until_due()
    assert shop.send() == 0
    assert shop.batch(batch).stop_code == "budget"
    assert shop.deliver(shop.may_be_sent(batch)) == 0
    assert len(shop.posts) == 4


def test_a_success_without_a_video_says_so_and_costs(shop: ServedShop, provider: Sandbox) -> None:
    accepted(shop)
    ends(shop, provider, {"on": "poll", "kind": "no_output"})
    row = shop.row()
    assert (row.state, row.error_code, row.actual_nanos) == ("succeeded", "no_output", PRICE)
