"""Statuses out of order, keys that change in the middle, and rows that are refused alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.sandbox.store import Store as SandboxState
from tests.support.raw_server import Answer, http
from tests.support.sandbox import KEY, Sandbox
from tests.support.scripted import scripted
from tests.support.served_shop import BUDGET, ServedShop
from tests.support.valkey import short_directory, valkey_server
from tests.support.watched import watched_sandbox

PRICE = 41_400_000
TASK: dict[str, object] = {"task_id": "task_1", "request_id": "req_1", "cost_estimate": 0.0414}
DONE: dict[str, object] = {
    "cost_actual": 0.0414,
    "output": {"videos": [{"url": "https://x/1.mp4"}]},
}


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Its idempotency keys belong to the API key: another key buys the same thing again."""
    options = ("--queue", "0", "--median", "0.3", "--spread", "0", "--key-scope", "key")
    with watched_sandbox(tmp_path_factory.mktemp("provider"), *options) as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, provider: Sandbox, broker: str) -> Iterator[ServedShop]:
    provider.faults()
    made = ServedShop(tmp_path, broker, provider.base_url)
    yield made
    made.close()


@pytest.fixture
def second_key(provider: Sandbox) -> str:
    _, text = SandboxState(provider.state).create_key("second")
    return text


@contextmanager
def told(folder: Path, broker: str, *answers: Answer) -> Iterator[ServedShop]:
    """One row whose POST and polls are answered so, in this order."""
    with scripted(*answers) as server:
        made = ServedShop(folder, broker, server.base_url)
        made.submit()
        yield made
        made.close()


def task(status: object, **more: object) -> bytes:
    return http(200, TASK | {"status": status} | more)


def follow(shop: ServedShop, number: int) -> list[tuple[str, str, int]]:
    """What the row was after each answer: state, the provider's word, hold."""
    seen = []
    for _ in range(number):
        if shop.posts:
            shop.until_due()
            assert shop.ask() == 1
        else:
            assert shop.send() == 1
        row = shop.row()
        assert row.needs_person is None
        seen.append((row.state, row.raw_status, row.hold_nanos))
    return seen


def test_words_that_nobody_knows_and_words_that_go_back_keep_it_running(
    tmp_path: Path, broker: str
) -> None:
    words = ["rendering", "queued", "processing", "QUEUED", "queued", "processing", "queued"]
    nothing = {"cost_actual": None, "output": None}
    answers = [task(word, **nothing) for word in words]
    with told(tmp_path, broker, *answers, task("succeeded", **DONE)) as shop:
        states = ["processing", "queued", "processing", "processing", "queued", "processing"]
        expected = [*states, "queued"]
        seen = follow(shop, len(words))
        assert seen == [(e, w, PRICE) for e, w in zip(expected, words, strict=True)]
        assert follow(shop, 1) == [("succeeded", "succeeded", 0)]


def test_an_end_is_final(tmp_path: Path, broker: str) -> None:
    answers = (task("processing"), task("succeeded", **DONE), task("queued"))
    with told(tmp_path, broker, *answers) as shop:
        follow(shop, 2)
        done = shop.row()
        shop.later(3600)
        shop.upkeep()
        assert (shop.ask(), shop.send()) == (0, 0)
        assert shop.deliver([done.item_id]) == 0
        assert shop.row() == done


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_bad_end_without_a_cost_is_assumed_free(tmp_path: Path, broker: str, end: str) -> None:
    events = http(200, {"events": [{"why": "moderation"}]})
    answers = (task("processing"), task(end, cost_actual=None), events)
    with told(tmp_path, broker, *answers) as shop:
        assert follow(shop, 1) == [("processing", "processing", PRICE)]
        shop.until_due()
        assert shop.ask() == 2, "the task and, once, its events"
        row = shop.row()
        assert (row.state, row.hold_nanos) == (end, 0)
        assert (row.actual_nanos, row.assumed_nanos) == (None, 0)
        assert "moderation" in row.events_json


def test_a_failure_costs_what_the_provider_says(tmp_path: Path, broker: str) -> None:
    answers = (http(500), task("failed", cost_actual="0.0207"), http(404))
    with told(tmp_path, broker, *answers) as shop:
        shop.send()
        assert shop.row().state == "unknown"
        shop.until_due()
        assert shop.send() == 1
        row = shop.row()
        assert (row.state, row.hold_nanos, row.actual_nanos) == ("failed", 0, 20_700_000)
        assert len({(post.key, post.body) for post in shop.posts}) == 1


def test_a_key_still_worked_on_is_asked_for_until_it_is_there(tmp_path: Path, broker: str) -> None:
    busy = http(409, {"error": {"message": "the first request is still being worked on"}})
    answers = (http(504), busy, busy, busy, busy, task("succeeded", **DONE))
    with told(tmp_path, broker, *answers) as shop:
        for _ in range(5):
            shop.send()
            row = shop.row()
            assert (row.state, row.hold_nanos, row.needs_person) == ("unknown", BUDGET, None)
            shop.until_due()
        shop.send()
        assert (shop.row().state, shop.row().actual_nanos) == ("succeeded", PRICE)
        assert len({(post.key, post.body) for post in shop.posts}) == 1


def test_what_was_sent_under_an_old_key_waits_for_it(
    shop: ServedShop, provider: Sandbox, second_key: str
) -> None:
    before = provider.charges
    stuck: dict[str, object] = {"on": "poll", "kind": "stuck"}
    lost = {"on": "submit", "kind": "lost_answer_after_commit", "match": "kettle 0"}
    provider.faults(lost, stuck)
    batch = shop.submit(2, budget=None)
    assert shop.send() == 2
    unknown, running = shop.rows()
    assert (unknown.state, running.state) == ("unknown", "processing")
    provider.faults()

    shop.api_key = second_key
    for _ in range(3):
        shop.until_due()
        shop.upkeep()
        assert (shop.send(), shop.ask()) == (0, 0)
        shop.deliver([unknown.item_id, running.item_id])
    assert shop.rows() == [unknown, running], "untouched, hold and first sending included"
    assert provider.charges == before + 2
    shop.submit(1, name="new", budget=None)
    assert shop.send() == 1, "what is new goes out under the new key"
    assert {sent.authorization for sent in shop.requests[2:]} == {f"Bearer {second_key}"}

    shop.api_key = KEY
    seen = len(shop.requests)
    for _ in range(4):
        shop.until_due()
        shop.send()
        shop.ask()
    assert {sent.authorization for sent in shop.requests[seen:]} == {f"Bearer {KEY}"}
    assert [row.state for row in shop.rows()[:2]] == ["succeeded"] * 2
    assert shop.rows()[0].first_sent_at == unknown.first_sent_at
    assert shop.batch(batch).held_nanos == 0
    assert provider.charges == before + 3
    assert provider.ledger()["charged_twice"] == 0


def test_what_a_refused_key_left_unsent_goes_out_under_a_new_one(
    shop: ServedShop, provider: Sandbox, second_key: str
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "unauthorized_401"})
    shop.submit()
    assert shop.send() == 1
    assert shop.row().state == "pending"
    provider.faults()
    shop.api_key = second_key
    shop.to_the_end()
    assert (provider.charges, shop.row().state) == (before + 1, "succeeded")


def test_a_row_refused_while_others_pass_is_set_aside(shop: ServedShop, provider: Sandbox) -> None:
    before = provider.charges
    moderated = {"on": "submit", "kind": "forbidden_403", "match": "kettle 2"}
    provider.faults(moderated)
    shop.submit(5, budget=None)
    for _ in range(6):
        shop.send()
        shop.ask()
        shop.until_due()
        shop.upkeep()
    states = [(row.state, row.needs_person) for row in shop.rows()]
    assert (
        states
        == [("succeeded", None)] * 2 + [("pending", "refused_alone")] + [("succeeded", None)] * 2
    )
    assert shop.closed() == []
    assert shop.rows()[2].hold_nanos == 0
    assert len(shop.posts) == 6
    assert provider.charges == before + 4


def test_a_moderated_row_that_comes_last_is_set_aside_too(
    shop: ServedShop, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "forbidden_403", "match": "last"})
    shop.submit(3, name="first", budget=None)
    assert shop.send() == 3
    shop.later(5)
    shop.submit(1, name="last", budget=None)
    for _ in range(12):
        shop.send()
        shop.ask()
        shop.until_due()
        shop.upkeep()
    assert shop.rows()[3].needs_person == "refused_alone"
    assert provider.charges == before + 3
