"""What may be in flight, counted where every worker claims; on both databases."""

from __future__ import annotations

import threading

from orchestrator.domain.in_flight import InFlight
from orchestrator.domain.states import State
from orchestrator.store import batches, claims
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from tests.support.stores import Shelf


def _taken(tx: Tx, shelf: Shelf, account: str) -> None:
    (item,) = claims.next_items(tx, shelf.batch_id, 1)
    given = {"batch_id": shelf.batch_id, "item_id": item.item_id, "generation": 0}
    given |= {"idempotency_key": f"{shelf.name}/0", "price_class": "std", "first_sent_at": 1}
    tx.conn.execute(t.submissions.insert().values(**given, account=account, state=State.SUBMITTING))


def test_claims_of_two_batches_do_not_pass_the_limit_together(shelf: Shelf) -> None:
    other = Shelf(shelf.store, shelf.clock, name="other")
    shelf.publish("r1")
    other.publish("r1")
    found: list[int] = []

    def claim() -> None:
        with shelf.store.write() as tx:
            batches.lock(tx, other.batch_id)
            found.append(claims.room(tx, "acc", InFlight(1)).most)

    second = threading.Thread(target=claim)
    with shelf.store.write() as tx:
        batches.lock(tx, shelf.batch_id)
        assert claims.room(tx, "acc", InFlight(1)).most == 1
        _taken(tx, shelf, "acc")
        second.start()
        # Time for it to count what is not committed yet, if nothing holds it.
        second.join(timeout=0.5)
        assert found == []
    second.join(timeout=30)
    assert found == [0]


def test_each_account_has_its_own_room(shelf: Shelf) -> None:
    shelf.publish("r1")
    with shelf.store.write() as tx:
        _taken(tx, shelf, "acc")
        assert claims.in_flight(tx, "acc") == {"std": 1}
        rooms = [claims.room(tx, name, InFlight(3)).most for name in ("acc", "another")]
        assert rooms == [2, 3]
