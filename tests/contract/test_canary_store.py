"""Rows that go first, and how many may go at all, on every database."""

from __future__ import annotations

import threading

from orchestrator.domain.canary import Canary, Phase
from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.states import State
from orchestrator.store import batches, canaries, claims
from tests.support.stores import Shelf, accepted, row


def test_a_canary_is_spread_over_the_price_classes(shelf: Shelf) -> None:
    cheap, dear = [row(f"c{n}") for n in range(6)], [row(f"d{n}", "pro") for n in range(3)]
    shelf.publish(*cheap, *dear)
    with shelf.store.write() as tx:
        canaries.begin(tx, shelf.batch_id, Canary(4), actor="me")
    names = [f"c{n}" for n in range(6)] + [f"d{n}" for n in range(3)]
    # Whatever message arrives, and whatever is in it, the others wait.
    held = shelf.offer(*names)
    assert sorted(held) == ["c0", "c1", "d0", "d1"]
    with shelf.store.write() as tx:
        left = claims.next_items(tx, shelf.batch_id, 9, state=State.PENDING, canary=True)
        canaries.choose(tx, shelf.batch_id, 5)
        more = claims.next_items(tx, shelf.batch_id, 9, state=State.PENDING, canary=True)
    assert (len(left), len(more)) == (0, 1)


def test_rows_of_a_canary_are_seen_with_their_costs(shelf: Shelf) -> None:
    shelf.publish("a", "b", "c")
    with shelf.store.write() as tx:
        canaries.begin(tx, shelf.batch_id, Canary(2), actor="me")
    bought = shelf.buy("a", accepted())
    shelf.poll(bought, accepted(TaskStatus.SUCCEEDED, actual="0.0414", videos=["http://v/a"]))
    with shelf.store.write() as tx:
        found = sorted(canaries.rows(tx, shelf.batch_id), key=lambda one: one.state)
        assert canaries.trying(tx) == [shelf.batch_id]
        assert [one.state for one in found] == [State.PENDING, State.SUCCEEDED]
        assert found[1].estimated == found[1].cost > 0
        canaries.decide(tx, shelf.batch_id, Phase.PASSED, actor="me", detail="")
        assert canaries.trying(tx) == []
    assert sorted(shelf.offer("b", "c")) == ["b", "c"]


def test_many_claimers_cannot_pass_the_limit(shelf: Shelf) -> None:
    names = [f"r{n}" for n in range(40)]
    shelf.publish(*names)
    with shelf.store.write() as tx:
        batches.set_limit(tx, shelf.batch_id, 7, actor="me")
    won: list[str] = []

    def work(number: int) -> None:
        won.extend(shelf.offer(*names[number * 2 : number * 2 + 2]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A claimer passes over rows that another has locked, so some may have come away empty.
    assert 0 < len(won) <= 7
    for number in range(20):
        work(number)
    assert len(won) == len(set(won)) == 7
    assert shelf.batch.sent_rows == 7
    with shelf.store.write() as tx:
        batches.set_limit(tx, shelf.batch_id, None, actor="me")
    assert len(shelf.offer(*names)) == 33
