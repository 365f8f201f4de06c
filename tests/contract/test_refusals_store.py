"""What refusals teach, where every worker finds it; on both databases."""

from __future__ import annotations

from orchestrator.domain.learned_cap import Refusal
from orchestrator.domain.states import State
from orchestrator.store import claims, refusals
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from tests.support.stores import PROVIDER, Shelf


def _submissions(tx: Tx, shelf: Shelf, *states: State, account: str = "acc") -> None:
    for number, (item, state) in enumerate(
        zip(claims.next_items(tx, shelf.batch_id, 9), states, strict=False)
    ):
        given = {"batch_id": shelf.batch_id, "item_id": item.item_id, "generation": 0}
        given |= {"idempotency_key": f"{shelf.name}/{number}", "price_class": "m/std"}
        given |= {"account": account, "state": state, "lease_until": tx.now}
        if state is State.PROCESSING:
            given |= {"accepted_at": tx.now - 4_000 * number}
        tx.conn.execute(t.submissions.insert().values(**given))


def test_the_last_refusal_of_each_model_is_remembered(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        assert refusals.known(tx, PROVIDER, "acc") == {}
        refusals.put(tx, PROVIDER, "acc", "a", Refusal(1, 20))
        refusals.put(tx, PROVIDER, "acc", "b", Refusal(2, 5, 3_000))
        refusals.put(tx, PROVIDER, "acc", "a", Refusal(3, 21, 4_000))
        refusals.put(tx, PROVIDER, "another", "a", Refusal(4, 1))
        refusals.put(tx, "https://elsewhere", "acc", "a", Refusal(5, 1))
        found = refusals.known(tx, PROVIDER, "acc")
    assert found == {"a": Refusal(3, 21, 4_000), "b": Refusal(2, 5, 3_000)}


def test_what_has_no_answer_yet_is_told_from_what_was_taken(shelf: Shelf) -> None:
    shelf.publish("r1", "r2", "r3", "r4")
    with shelf.store.write() as tx:
        _submissions(tx, shelf, State.SUBMITTING, State.PROCESSING, State.PROCESSING, State.UNKNOWN)
        assert claims.in_flight(tx, "acc") == {"m": 4}
        assert claims.sending(tx, "acc") == {"m": 1}
        assert claims.sending(tx, "another") == {}
        assert refusals.mean_age(tx, "acc", ["m/std"], 100) == 6_000
        assert refusals.mean_age(tx, "acc", ["m/std"], 1) in (4_000, 8_000)
        assert refusals.mean_age(tx, "acc", ["m/pro"], 100) == 0
