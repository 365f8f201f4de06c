"""Several purchases of one row, and who may send or settle them next; on both databases."""

from __future__ import annotations

import pytest

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.reconciliation import learn
from orchestrator.domain.states import State
from orchestrator.domain.submission import Decision, NeedsPerson, lapse
from orchestrator.domain.verdict import accept_double_charge
from orchestrator.store import claims, lives, steering, views
from orchestrator.store.claims import Next
from orchestrator.store.lives import Stored
from tests.support.stores import (
    COST_NOTHING,
    LOST,
    POLICY,
    PRICE,
    Shelf,
    accepted,
    row,
)

S = State
FAILED = accepted(TaskStatus.FAILED)
SUCCEEDED = accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u1", "u2"])


def next_rows(shelf: Shelf, **given: object) -> list[Next]:
    with shelf.store.read() as tx:
        return claims.next_items(tx, shelf.batch_id, 100, **given)  # type: ignore[arg-type]


def retry(shelf: Shelf, *row_keys: str) -> int:
    ids = [shelf.item(key).item_id for key in row_keys]
    with shelf.store.write() as tx:
        return steering.retry(tx, shelf.batch_id, ids, actor="me")


def two_purchases(shelf: Shelf) -> tuple[Stored, Stored]:
    """Generation 0 still runs; generation 1 was bought beside it."""
    shelf.publish("a")
    first = shelf.buy("a", accepted(task_id="task_0"))
    shelf.record(first, Decision(first.life, None, "another purchase was accepted"))
    with shelf.store.write() as tx:
        steering.buy_again(tx, first.item_id, 0, actor="me")
    return shelf.stored("a/0"), shelf.buy("a", accepted(task_id="task_1"))


def test_the_last_purchase_speaks_for_its_row_until_one_succeeds(shelf: Shelf) -> None:
    first, second = two_purchases(shelf)
    assert shelf.item("a").task_id == "task_1"
    shelf.poll(first, accepted(TaskStatus.FAILED, task_id="task_0"))
    assert shelf.states() == {"a": S.QUEUED}
    assert shelf.item("a").task_id == "task_1"
    shelf.poll(second, accepted(TaskStatus.PROCESSING, task_id="task_1"))
    assert shelf.states() == {"a": S.PROCESSING}


def test_a_late_success_of_an_earlier_purchase_is_the_result(shelf: Shelf) -> None:
    first, second = two_purchases(shelf)
    shelf.poll(
        first, accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u0"], task_id="task_0")
    )
    item = shelf.item("a")
    assert (item.state, item.task_id, item.video_urls) == (S.SUCCEEDED, "task_0", ("u0",))
    shelf.poll(second, accepted(TaskStatus.FAILED, actual="0.03", task_id="task_1"))
    item = shelf.item("a")
    assert (item.state, item.task_id, item.error_code) == (S.SUCCEEDED, "task_0", None)
    assert item.actual_nanos == 80_000_000
    assert shelf.money_adds_up()


def test_the_first_success_stays_the_result_beside_a_second(shelf: Shelf) -> None:
    first, second = two_purchases(shelf)
    shelf.poll(
        second, accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u1"], task_id="task_1")
    )
    shelf.poll(
        first, accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u0"], task_id="task_0")
    )
    item = shelf.item("a")
    assert (item.task_id, item.video_urls) == ("task_1", ("u1",))
    assert item.actual_nanos == 100_000_000


@pytest.mark.parametrize("again", ["pending", "unknown", "failed"])
def test_a_success_that_was_given_up_on_ends_the_row_wherever_its_retry_stands(
    shelf: Shelf, again: str
) -> None:
    shelf.publish("a")
    lost = shelf.buy("a", LOST)
    settled = accept_double_charge(lost.life, now=shelf.clock.now)
    assert settled is not None
    given_up = shelf.record(lost, settled._replace(after=settled.after._replace(task_id="task_0")))
    retry(shelf, "a")
    if again != "pending":
        shelf.buy("a", LOST if again == "unknown" else FAILED)
    decision = learn(given_up.life, SUCCEEDED, now=shelf.clock.now)
    assert decision is not None
    shelf.record(given_up, decision)
    item = shelf.item("a")
    assert (item.state, item.idempotency_key) == (S.SUCCEEDED, "a/0")
    assert item.video_urls == ("u1", "u2")
    assert next_rows(shelf) == []
    assert shelf.money_adds_up()


def test_a_row_costs_what_all_its_purchases_cost(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    shelf.buy("a", accepted(TaskStatus.FAILED, actual="0.02"))
    retry(shelf, "a")
    shelf.buy("b", accepted(TaskStatus.FAILED, actual="0.01"))
    assert (shelf.item("a").actual_nanos, shelf.item("a").assumed_nanos) == (20_000_000, None)
    shelf.buy("a", accepted(TaskStatus.SUCCEEDED, videos=["u"]))
    item = shelf.item("a")
    assert (item.actual_nanos, item.assumed_nanos) == (20_000_000, PRICE.nanos)
    assert item.estimate_nanos == PRICE.nanos
    assert shelf.item("b").actual_nanos == 10_000_000
    with shelf.store.read() as tx:
        listed = views.purchases_of(tx, item.item_id)
    assert [(one.generation, one.state) for one in listed] == [(0, "failed"), (1, "succeeded")]


def test_a_sum_of_money_is_a_whole_number(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.buy("a", accepted(TaskStatus.FAILED, actual="0.02"))
    retry(shelf, "a")
    assert type(shelf.item("a").actual_nanos) is int


def test_only_the_key_that_sent_a_row_asks_for_it_again(shelf: Shelf) -> None:
    shelf.publish("lost", "free", "new")
    shelf.buy("lost", LOST, account="old")
    shelf.buy("free", COST_NOTHING, account="old")
    shelf.clock.now += 600_000

    def keys(*accounts: str) -> list[State]:
        return [one.state for one in next_rows(shelf, accounts=accounts)]

    assert keys("acc", "old") == keys("old") == [S.UNKNOWN, S.PENDING, S.PENDING]
    assert keys("acc") == [S.PENDING, S.PENDING]
    assert shelf.claim("free")["free"].account == "acc"


def test_a_limit_counts_only_rows_that_this_key_may_send(shelf: Shelf) -> None:
    shelf.publish("lost", "new")
    shelf.buy("lost", LOST, account="old")
    shelf.clock.now += 600_000
    with shelf.store.read() as tx:
        (found,) = claims.next_items(tx, shelf.batch_id, 1, accounts=["acc"])
    assert found.position == shelf.item("new").position


def test_price_classes_hold_back_only_what_was_not_sent(shelf: Shelf) -> None:
    shelf.publish("lost", row("pro", "pro"), "std")
    shelf.buy("lost", LOST)
    shelf.clock.now += 600_000
    found = next_rows(shelf, price_classes=["pro"])
    assert [one.price_class for one in found] == ["std", "pro"]
    assert found[0].state is S.UNKNOWN


def test_the_next_rows_know_how_often_a_worker_died_over_them(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    held = shelf.claim("a")["a"]
    shelf.record(held, lapse(held.life, now=shelf.clock.now))
    assert [one.lapses for one in next_rows(shelf)] == [1, 0]


def test_who_waits_for_a_person_is_listed_whatever_the_generation(shelf: Shelf) -> None:
    first, second = two_purchases(shelf)
    shelf.publish("unknown", "refused", "ended", "well")
    lost = shelf.buy("unknown", LOST)
    refused = shelf.buy("refused", COST_NOTHING)
    ended = shelf.buy("ended", FAILED)
    shelf.buy("well", accepted())
    with shelf.store.read() as tx:
        assert lives.needing_person(tx, shelf.batch_id) == []
        assert [one.id for one in lives.unknown_of_batch(tx, shelf.batch_id)] == [lost.id]
    shelf.flag(first, NeedsPerson.LOST)
    shelf.flag(lost, NeedsPerson.KEY_EXPIRED)
    shelf.flag(refused, NeedsPerson.REFUSED_ALONE)
    shelf.flag(ended, NeedsPerson.OVERDUE)
    with shelf.store.write() as tx:
        waiting = lives.needing_person(tx, shelf.batch_id)
        assert [one.id for one in waiting] == [first.id, lost.id, refused.id]
        assert [one.id for one in lives.unknown_of_batch(tx, shelf.batch_id)] == [lost.id]
        assert lives.needing_person(tx, shelf.batch_id + 1) == []
        assert lives.unknown_of_batch(tx, shelf.batch_id + 1) == []
    assert second.id not in {one.id for one in waiting}


def test_a_row_that_waits_for_a_person_is_not_sent(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.flag(shelf.buy("a", LOST), NeedsPerson.KEY_EXPIRED)
    shelf.clock.now += 10 * POLICY.retention
    assert next_rows(shelf) == []


def test_submissions_are_found_by_their_keys(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    made = shelf.claim("a", "b")
    with shelf.store.read() as tx:
        found = lives.by_key(tx, ["a/0", "b/0", "strange"])
        assert lives.by_key(tx, []) == {}
    assert found == {"a/0": made["a"], "b/0": made["b"]}
