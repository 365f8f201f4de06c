"""Putting back what only a journal knows; on both databases."""

from __future__ import annotations

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.recovery import Told, claimed, merge
from orchestrator.domain.states import State
from orchestrator.store import claims, lives, restoring, views
from orchestrator.store.lives import Stored
from tests.support.stores import (
    COST_NOTHING,
    POLICY,
    Shelf,
    accepted,
    row,
)

S = State
SUCCEEDED = accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u1", "u2"])


def told(shelf: Shelf, row_key: str, generation: int = 0, **given: object) -> Told:
    usual = {
        "idempotency_key": f"{row_key}/{generation}",
        "row_key": row_key,
        "generation": generation,
        "model": "kling-v2-6",
        "digest": row(row_key).digest,
        "price_class": "std",
        "account": "acc",
        "hold_nanos": 7,
        "attempts": {"c": shelf.clock.now - 1000},
    }
    return Told(**(usual | given))  # type: ignore[arg-type]


def put_back(shelf: Shelf, word: Told) -> Stored:
    """A purchase that only the journal knows, back under its row."""
    with shelf.store.write() as tx:
        place = restoring.places(tx, shelf.batch_id, [word])[word.idempotency_key]
        made = restoring.put_back(tx, shelf.batch_id, place.item_id, word, claimed(word, tx.now))
        decision = merge(None, word, now=tx.now, policy=POLICY)
        assert decision is not None
        lives.record(tx, [(made, decision)], actor="me")
    return shelf.stored(word.idempotency_key)


def test_a_purchase_finds_its_row_by_key_and_input(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    words = [told(shelf, "a"), told(shelf, "a", 1), told(shelf, "b", digest="edited")]
    with shelf.store.write() as tx:
        found = restoring.places(tx, shelf.batch_id, words)
        again = restoring.places(tx, shelf.batch_id, words)
    assert found == again
    assert found["a/0"] == found["a/1"]
    assert (found["a/0"].item_id, found["a/0"].in_spec) == (shelf.item("a").item_id, True)
    assert not found["b/0"].in_spec


def test_a_row_that_the_spec_has_no_more_gets_a_stand_in_and_its_edit_is_not_sent(
    shelf: Shelf,
) -> None:
    shelf.publish("a", "b")
    word = told(shelf, "a", digest="as it was sent")
    stored = put_back(shelf, word)
    with shelf.store.read() as tx:
        versions = views.result_of(tx, shelf.batch_id, "a")
    assert [one.state for one in versions] == [S.WITHDRAWN, S.UNKNOWN]
    assert versions[1].item_id == stored.item_id
    assert versions[1].position == 1 + shelf.item("b").position
    shelf.clock.now += 600_000
    with shelf.store.write() as tx:
        ids = [one.item_id for one in claims.next_items(tx, shelf.batch_id, 100)]
        assert [one.row_key for one in claims.candidates(tx, ids)] == ["b"]
    assert shelf.batch.held_nanos == 7
    assert shelf.money_adds_up()


def test_a_purchase_that_is_put_back_has_no_lease_and_speaks_for_its_row(shelf: Shelf) -> None:
    shelf.publish("a")
    stored = put_back(shelf, told(shelf, "a", 2))
    assert (stored.lease_token, stored.lease_until) == (None, None)
    item = shelf.item("a")
    assert (item.state, item.generation, item.idempotency_key) == (S.UNKNOWN, 2, "a/2")
    assert shelf.money_adds_up()


def test_an_earlier_purchase_that_is_put_back_later_does_not_speak_for_its_row(
    shelf: Shelf,
) -> None:
    shelf.publish("a")
    put_back(shelf, told(shelf, "a", 1, task_id="task_1"))
    put_back(shelf, told(shelf, "a", 0))
    item = shelf.item("a")
    assert (item.state, item.idempotency_key) == (S.QUEUED, "a/1")


def test_a_later_purchase_that_is_put_back_leaves_the_result_of_a_success(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.buy("a", SUCCEEDED)
    put_back(shelf, told(shelf, "a", 1, task_id="task_1"))
    item = shelf.item("a")
    assert (item.state, item.idempotency_key) == (S.SUCCEEDED, "a/0")
    assert item.video_urls == ("u1", "u2")


def test_rows_without_a_trace_are_paged_in_order(shelf: Shelf) -> None:
    shelf.publish("sent", "a", "free", "b", "c")
    shelf.claim("sent")
    shelf.buy("free", COST_NOTHING)
    with shelf.store.read() as tx:
        page = restoring.unsent_items(tx, shelf.batch_id, -1, 2)
        rest = restoring.unsent_items(tx, shelf.batch_id, page[-1].position, 2)
        assert restoring.unsent_items(tx, shelf.batch_id, rest[-1].position, 2) == []
    assert [one.row_key for one in (*page, *rest)] == ["a", "b", "c"]
    assert page[0].input_json == row("a").input_json


def test_journals_are_registered_and_replaced(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        for name in ("a", "b", "c"):
            restoring.register_journal(tx, name, "host")
        shelf.clock.now += 5
    with shelf.store.write() as tx:
        restoring.replace_journals(tx, ["a", "b"], ["d"], "other")
    start = shelf.clock.now - 5
    with shelf.store.read() as tx:
        found = restoring.registered_journals(tx)
    assert found == {"c": ("host", start), "d": ("other", start + 5)}
