"""Clocks that jump while a chunk is being sent: nothing leaves outside its lease or its key's time.

The sandbox counts what left; the broker, the journal and the database are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.support.served_shop import ServedShop
from tests.support.valkey import short_directory, valkey_server
from tests.support.watched import watched_sandbox

ROWS = 8
STEPS = {
    "wall back by a minute": (-60, 0),
    "wall back by a day": (-86_400, 0),
    "wall forward by an hour": (3600, 0),
    "wall forward by two days": (172_800, 0),
    "slept for an hour": (3600, 3600),
    "monotonic alone by an hour": (0, 3600),
    "wall back while the time went on": (-3600, 3600),
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    at_once = ("--queue", "0", "--median", "0", "--spread", "0")
    with watched_sandbox(tmp_path_factory.mktemp("provider"), *at_once) as running:
        yield running


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture
def shop(tmp_path: Path, provider: Sandbox, broker: str) -> Iterator[ServedShop]:
    provider.faults()
    made = ServedShop(tmp_path, broker, provider.base_url)
    yield made
    made.close()


def steps(shop: ServedShop, name: str) -> None:
    shop.wall_step, shop.monotonic_step = STEPS[name]


def put_right(shop: ServedShop) -> None:
    shop.wall_step = shop.monotonic_step = 0


@pytest.mark.parametrize("step", STEPS)
def test_a_step_between_claim_and_post_sends_nothing(
    shop: ServedShop, provider: Sandbox, step: str
) -> None:
    before, posts = provider.charges, provider.ledger()["posts"]
    batch = shop.submit(ROWS, budget=None)
    shop.on_journal = lambda: steps(shop, step)
    assert shop.send() == 0
    assert provider.ledger()["posts"] == posts
    assert {(row.state, row.hold_nanos, row.tries) for row in shop.rows()} == {("pending", 0, 0)}
    assert shop.batch(batch).held_nanos == 0
    put_right(shop)
    shop.to_the_end()
    assert provider.charges == before + ROWS


@pytest.mark.parametrize("step", STEPS)
def test_a_step_in_the_middle_of_a_chunk_holds_the_rest_back(
    shop: ServedShop, provider: Sandbox, step: str
) -> None:
    before = provider.charges
    shop.submit(ROWS, budget=None)
    shop.on_post = lambda: steps(shop, step)
    assert shop.send() == 1
    shop.on_post = lambda: None
    put_right(shop)
    shop.to_the_end()
    assert provider.charges == before + ROWS
    assert len({(post.key, post.body) for post in shop.posts}) == ROWS
    assert {row.state for row in shop.rows()} == {"succeeded"}


def test_a_key_is_not_sent_when_the_wall_clock_says_it_is_too_old(
    shop: ServedShop, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "lost_answer_after_commit"})
    shop.submit()
    assert shop.send() == 1
    lost = shop.row()
    provider.faults()
    shop.until_due()
    shop.wall_step = 23.5 * 3600
    assert shop.deliver([lost.item_id]) == 0
    shop.upkeep()
    kept = shop.row()
    assert (kept.state, kept.needs_person) == ("unknown", "key_expired")
    assert (kept.hold_nanos, kept.first_sent_at) == (lost.hold_nanos, lost.first_sent_at)
    assert (len(shop.posts), provider.charges) == (1, before + 1)


def test_a_wall_clock_set_back_after_a_lost_answer_changes_no_key(
    shop: ServedShop, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "lost_answer_after_commit", "count": 1})
    shop.submit()
    shop.send()
    lost = shop.row()
    shop.wall_step = -7200
    assert shop.send() == 0, "not due by a clock that went back"
    shop.until_due()
    shop.to_the_end()
    assert len({(post.key, post.body) for post in shop.posts}) == 1
    assert shop.row().first_sent_at == lost.first_sent_at
    assert provider.charges == before + 1


def test_a_wall_clock_that_was_ahead_lends_no_time_to_a_key(
    shop: ServedShop, provider: Sandbox
) -> None:
    provider.faults({"on": "submit", "kind": "lost_answer_after_commit", "count": 1})
    shop.wall_step = 10 * 3600
    shop.submit()
    assert shop.send() == 1
    put_right(shop)
    shop.upkeep()
    shop.later(24.5 * 3600)
    assert shop.deliver([shop.row().item_id]) == 0
    assert len(shop.posts) == 1
