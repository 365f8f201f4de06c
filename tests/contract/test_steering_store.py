"""What the store promises to a person who steers, settles and recovers; on both databases."""

from __future__ import annotations

import pytest

from orchestrator.domain.batch import Wanted
from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.states import State
from orchestrator.store import batches, steering
from orchestrator.store import tables as t
from tests.support.counted import counts as counts_of
from tests.support.stores import (
    COST_NOTHING,
    LOST,
    REJECTED,
    Shelf,
    accepted,
    row,
)

S = State
FAILED = accepted(TaskStatus.FAILED)
SUCCEEDED = accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u1", "u2"])


def cancel(shelf: Shelf) -> int:
    with shelf.store.write() as tx:
        batches.lock(tx, shelf.batch_id)
        steering.want(tx, shelf.batch_id, Wanted.CANCELLED, actor="me")
        return steering.withdraw_unsent(tx, shelf.batch_id, actor="me")


def resume(shelf: Shelf) -> int:
    with shelf.store.write() as tx:
        steering.want(tx, shelf.batch_id, Wanted.OPEN, actor="me")
        return steering.revive_withdrawn(tx, shelf.batch_id, actor="me")


def retry(shelf: Shelf, *row_keys: str) -> int:
    ids = [shelf.item(key).item_id for key in row_keys]
    with shelf.store.write() as tx:
        return steering.retry(tx, shelf.batch_id, ids, actor="me")


def test_a_cancel_takes_back_only_what_is_pending_and_a_resume_brings_it_back(
    shelf: Shelf,
) -> None:
    shelf.publish("sent", "lost", "bad", "a", "b")
    shelf.claim("sent")
    shelf.buy("lost", LOST)
    shelf.buy("bad", REJECTED)
    assert cancel(shelf) == 2
    cancelled = {"sent": S.SUBMITTING, "lost": S.UNKNOWN, "bad": S.REJECTED}
    assert shelf.states() == cancelled | {"a": S.WITHDRAWN, "b": S.WITHDRAWN}
    assert shelf.batch.wanted is Wanted.CANCELLED
    assert shelf.item("a").error_code == steering.CANCELLED_CODE
    assert cancel(shelf) == 0
    assert resume(shelf) == 2
    assert shelf.states() == cancelled | {"a": S.PENDING, "b": S.PENDING}
    assert shelf.item("a").error_code is None
    assert shelf.events("a") == ["withdraw", "revive"]


def test_a_resume_leaves_what_an_edit_took_back(shelf: Shelf) -> None:
    shelf.publish(row("a", text="first"))
    shelf.publish(row("a", text="second"))
    with shelf.store.read() as tx:
        assert counts_of(tx, shelf.batch_id)[S.WITHDRAWN] == 1
    assert cancel(shelf) == 1
    assert resume(shelf) == 1
    with shelf.store.read() as tx:
        found = counts_of(tx, shelf.batch_id)
    assert (found[S.PENDING], found[S.WITHDRAWN]) == (1, 1)


def test_a_resume_opens_a_batch_that_its_cancel_had_finished(shelf: Shelf) -> None:
    shelf.publish("a")
    cancel(shelf)
    with shelf.store.write() as tx:
        assert len(batches.finish_ended(tx)) == 1
    assert shelf.batch.finished_at is not None
    resume(shelf)
    assert shelf.batch.finished_at is None


def test_what_comes_back_unsent_to_a_cancelled_batch_is_taken_back_too(shelf: Shelf) -> None:
    other = Shelf(shelf.store, shelf.clock, "other")
    for one in (shelf, other):
        one.publish("a")
    held = shelf.claim("a")["a"]
    assert cancel(shelf) == 0
    shelf.answer(held, COST_NOTHING)
    assert shelf.states() == {"a": S.PENDING}
    with shelf.store.write() as tx:
        steering.withdraw_rest(tx, actor="me")
    assert shelf.states() == {"a": S.WITHDRAWN}
    assert other.states() == {"a": S.PENDING}


def bought(shelf: Shelf) -> None:
    """One row for every way to end, and some that did not."""
    shelf.publish("failed", "cancelled", "rejected", "done", "lost", "new")
    shelf.buy("failed", accepted(TaskStatus.FAILED, code="nsfw"))
    shelf.buy("cancelled", accepted(TaskStatus.CANCELLED))
    shelf.buy("rejected", REJECTED)
    shelf.buy("done", SUCCEEDED)
    shelf.buy("lost", LOST)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ["failed", "cancelled", "rejected"]),
        ({"codes": ["rejected"]}, ["rejected"]),
        ({"codes": ["failed"]}, ["failed"]),
        ({"codes": ["nsfw"]}, ["failed"]),
        ({"codes": ["cancelled", "nothing"]}, ["cancelled"]),
        ({"rows": ["failed", "done", "lost"]}, ["failed"]),
        ({"rows": ["failed"], "codes": ["rejected"]}, []),
    ],
)
def test_only_what_ended_badly_can_be_bought_anew(
    shelf: Shelf, given: dict[str, list[str]], found: list[str]
) -> None:
    bought(shelf)
    chosen: dict[str, list[str]] = {"codes": [], "rows": []}
    with shelf.store.read() as tx:
        ids, spent = steering.retryable(tx, shelf.batch_id, max_generations=3, **(chosen | given))
    assert ids.get("std", []) == [shelf.item(key).item_id for key in found]
    assert spent == 0


def test_used_up_generations_are_counted_and_left_out(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    shelf.buy("a", FAILED)
    retry(shelf, "a")
    shelf.buy("a", FAILED)
    shelf.buy("b", FAILED)
    with shelf.store.read() as tx:
        found = steering.retryable(tx, shelf.batch_id, codes=[], rows=[], max_generations=2)
    assert found == ({"std": [shelf.item("b").item_id]}, 1)


def test_a_retry_is_another_purchase_under_another_key(shelf: Shelf) -> None:
    bought(shelf)
    with shelf.store.write() as tx:
        batches.finish_ended(tx)
    everything = list(shelf.states())
    assert retry(shelf, *everything) == 3
    assert retry(shelf, *everything) == 0
    before = {"done": S.SUCCEEDED, "lost": S.UNKNOWN, "new": S.PENDING}
    anew = dict.fromkeys(["failed", "cancelled", "rejected"], S.PENDING)
    assert shelf.states() == before | anew
    item = shelf.item("failed")
    assert (item.generation, item.error_code, item.task_id) == (1, None, None)
    assert shelf.events("failed")[-1] == "retry"
    again = shelf.claim("failed")["failed"]
    assert (again.idempotency_key, again.generation, again.life.tries) == ("failed/1", 1, 1)


def test_a_retry_leaves_other_batches_alone(shelf: Shelf) -> None:
    other = Shelf(shelf.store, shelf.clock, "other")
    for one, key in ((shelf, "a"), (other, "x")):
        one.publish(key)
        one.buy(key, FAILED)
    strange = other.item("x").item_id
    with shelf.store.write() as tx:
        assert steering.retry(tx, shelf.batch_id, [strange], actor="me") == 0
    assert other.states() == {"x": S.FAILED}


def test_a_retry_opens_a_finished_batch_again(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.buy("a", FAILED)
    with shelf.store.write() as tx:
        batches.finish_ended(tx)
    retry(shelf, "a")
    assert shelf.batch.finished_at is None


def test_a_second_purchase_needs_the_generation_it_was_accepted_for(shelf: Shelf) -> None:
    shelf.publish("a", "done")
    shelf.buy("a", LOST)
    shelf.buy("done", SUCCEEDED)
    item, done = shelf.item("a").item_id, shelf.item("done").item_id
    with shelf.store.write() as tx:
        assert not steering.buy_again(tx, item, 1, actor="me")
        assert not steering.buy_again(tx, done, 0, actor="me")
        assert steering.buy_again(tx, item, 0, actor="me")
        assert not steering.buy_again(tx, item, 0, actor="me")
    assert shelf.states() == {"a": S.PENDING, "done": S.SUCCEEDED}
    assert shelf.item("a").generation == 1


def test_a_person_s_wish_is_in_the_history(shelf: Shelf) -> None:
    shelf.publish("a")
    with shelf.store.write() as tx:
        steering.want(tx, shelf.batch_id, Wanted.PAUSED, actor="me", detail="lunch")
        lines = tx.conn.execute(t.history.select().order_by(t.history.c.id)).all()
    assert [(line.event, line.actor, line.detail) for line in lines][-1] == (
        "wanted paused",
        "me",
        "lunch",
    )
    assert shelf.batch.wanted is Wanted.PAUSED
