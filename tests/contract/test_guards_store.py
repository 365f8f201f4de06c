"""The store's second bolts: each holds by itself, whatever its caller looked at before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import update

from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.in_flight import Room
from orchestrator.domain.outcome import GateReason, TaskStatus
from orchestrator.domain.states import SUBMISSION_STATES, TERMINAL, State
from orchestrator.domain.submission import lapse_poll
from orchestrator.domain.verdict import accept_double_charge
from orchestrator.store import (
    batches,
    claims,
    gates,
    intake,
    lives,
    prices,
    steering,
    views,
    workers,
)
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.intake import Staged
from orchestrator.store.lives import Lease, Stored
from tests.support.stores import (
    LOST,
    POLICY,
    PRICE,
    PROVIDER,
    Shelf,
    accepted,
    row,
)

S = State
SUCCEEDED = accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u"])


def set_budget(shelf: Shelf, nanos: int) -> None:
    with shelf.store.write() as tx:
        batches.set_budget(tx, shelf.batch_id, nanos, actor="me", detail="")


def reading(shelf: Shelf, tx: Tx, *row_keys: str, edited: Sequence[str] = ()) -> int:
    """A reading of the spec that was staged and not published; returns its revision."""
    rows = [row(key) for key in row_keys]
    return staged(shelf, tx, [*rows, *(row(key, text="edited") for key in edited)])


def staged(shelf: Shelf, tx: Tx, rows: Sequence[Staged]) -> int:
    revision = intake.begin(tx, shelf.batch_id, source="a.csv", actor="me")
    last = intake.last_position(tx, shelf.batch_id)
    intake.stage(tx, shelf.batch_id, revision, rows, after_position=last, compare=True)
    return revision


def publish(shelf: Shelf, tx: Tx, revision: int, *, prune: bool = False) -> int:
    return intake.publish(
        tx,
        shelf.batch_id,
        revision,
        rows=1,
        columns=["prompt"],
        prune=prune,
        resend_changed=False,
        actor="me",
    )


def own_columns(owner: str) -> list[Staged]:
    """Two rows that are known, of which the first one's own columns were edited."""
    return [replace(row("a"), source=json.dumps({"x_owner": owner})), row("b")]


def sources(shelf: Shelf) -> list[dict[str, str]]:
    with shelf.store.read() as tx:
        return [result.source for result in views.results(tx, shelf.batch_id)]


def test_own_columns_follow_the_file_once_it_is_published(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    before = sources(shelf)
    with shelf.store.write() as tx:
        revision = staged(shelf, tx, own_columns("Ann"))
    assert sources(shelf) == before
    with shelf.store.write() as tx:
        found = intake.difference(tx, shelf.batch_id, revision)
        assert (found.known, found.changed, found.added) == (2, 0, 0)
        publish(shelf, tx, revision)
    assert sources(shelf) == [{"x_owner": "Ann"}, before[1]]


def test_own_columns_of_a_reading_that_is_given_up_are_forgotten(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    before = sources(shelf)
    with shelf.store.write() as tx:
        staged(shelf, tx, own_columns("Ann"))
        intake.sweep(tx, shelf.batch_id)
        publish(shelf, tx, reading(shelf, tx, "b"))
    assert sources(shelf) == before
    with shelf.store.write() as tx:
        publish(shelf, tx, reading(shelf, tx, "a", "b"))
    assert sources(shelf) == before


def claim(shelf: Shelf, *item_ids: int, room: int | None = None) -> list[str]:
    """What is leased of these rows, or of all that may be sent now; their keys."""
    with shelf.store.write() as tx:
        ids = item_ids or [one.item_id for one in claims.next_items(tx, shelf.batch_id, 9)]
        wanted = claims.candidates(tx, ids)
        made = claims.claim_items(
            tx,
            batches.lock(tx, shelf.batch_id),
            wanted,
            {one.item_id: one.row_key for one in wanted},
            prices=prices.known(tx, PROVIDER),
            lease=Lease("t", tx.now + 60_000, "w"),
            account="acc",
            policy=POLICY,
            room=None if room is None else Room(room),
            actor="me",
        )
    return [one.item.row_key for one in made]


# Lives.


def test_a_decision_about_a_state_that_has_moved_writes_nothing(shelf: Shelf) -> None:
    shelf.publish("a")
    lost = shelf.buy("a", LOST)
    verdict = accept_double_charge(lost.life, now=shelf.clock.now)
    assert verdict is not None
    settled = shelf.record(lost, verdict)
    assert settled.lease_token == lost.lease_token, "only the state tells the two apart"
    late = verdict._replace(after=lost.life._replace(tries=9))
    with shelf.store.write() as tx:
        lives._write(tx, [(lost, late)])
    assert shelf.stored("a/0") == settled


def lease_polls(shelf: Shelf, token: str, *, account: str = "acc", lapsed: bool = False) -> int:
    now = shelf.clock.now
    with shelf.store.write() as tx:
        return lives.lease_for_polling(
            tx,
            account=account,
            until=now + 1000,
            horizon=now,
            limit=10,
            token=token,
            lapsed=lapsed,
        )


def test_only_the_key_that_bought_a_task_asks_about_it(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.buy("a", accepted(), account="old")
    shelf.clock.now += 600_000
    assert lease_polls(shelf, "p1") == 0
    assert lease_polls(shelf, "p2", account="old") == 1


def test_a_task_over_which_a_worker_died_is_asked_about_alone(shelf: Shelf) -> None:
    shelf.publish("a", "b", "c")
    for key in ("a", "b", "c"):
        stored = shelf.buy(key, accepted(task_id=key))
        if key != "c":
            shelf.record(stored, lapse_poll(stored.life, now=shelf.clock.now))
    shelf.clock.now += 600_000
    leased = [lease_polls(shelf, f"p{n}", lapsed=n < 3) for n in range(4)]
    assert leased == [1, 1, 0, 1]


# Money.


def test_a_hold_is_taken_only_within_the_budget(shelf: Shelf) -> None:
    set_budget(shelf, 10)
    with shelf.store.write() as tx:
        assert batches.take_hold(tx, shelf.batch_id, 10, rows=1)
        assert not batches.take_hold(tx, shelf.batch_id, 1, rows=1)
        assert batches.take_hold(tx, shelf.batch_id, 0, rows=1)
        batches.add_money(tx, shelf.batch_id, held=-10, actual=4, assumed=5)
        assert not batches.take_hold(tx, shelf.batch_id, 2, rows=1)
        assert batches.take_hold(tx, shelf.batch_id, 1, rows=1)
    assert shelf.batch.held_nanos == 1


@pytest.mark.parametrize("wanted", [Wanted.PAUSED, Wanted.CANCELLED])
def test_no_hold_is_taken_for_a_batch_that_is_not_wanted(shelf: Shelf, wanted: Wanted) -> None:
    with shelf.store.write() as tx:
        steering.want(tx, shelf.batch_id, wanted, actor="me")
        assert not batches.take_hold(tx, shelf.batch_id, 1, rows=1)
    assert shelf.batch.held_nanos == 0


def test_what_a_row_is_assumed_to_cost_is_spent(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    set_budget(shelf, 2 * PRICE.nanos - 1)
    shelf.buy("a", accepted(TaskStatus.SUCCEEDED, videos=["u"]))
    assert shelf.batch.assumed_nanos == PRICE.nanos
    assert shelf.batch.free_nanos == PRICE.nanos - 1


def test_a_row_that_costs_more_than_a_row_may_is_not_claimed(shelf: Shelf) -> None:
    shelf.publish("a", row("dear", "pro"), row("strange", "new"))
    with shelf.store.write() as tx:
        prices.learn(tx, PROVIDER, {"pro": replace(PRICE, nanos=2 * PRICE.nanos)})
        batches.set_max_price(tx, shelf.batch_id, PRICE.nanos, actor="me")
    assert claim(shelf) == ["a"]


def test_another_budget_lifts_only_the_stop_of_the_old_one(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        batches.stop(tx, shelf.batch_id, Stop.BUDGET, "no money", actor="me")
    set_budget(shelf, 1)
    assert shelf.batch.stop_code is None
    with shelf.store.write() as tx:
        batches.stop(tx, shelf.batch_id, Stop.COST_UNREADABLE, "what?", actor="me")
    set_budget(shelf, 2)
    assert shelf.batch.stop_code is Stop.COST_UNREADABLE


def test_prices_of_another_provider_are_not_known_here(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        prices.learn(tx, "elsewhere", {"std": replace(PRICE, nanos=1), "pro": PRICE})
        assert prices.known(tx, PROVIDER) == {"std": PRICE.nanos}


# Handing out.


def test_rows_of_a_reading_that_is_not_published_are_not_handed_out(shelf: Shelf) -> None:
    shelf.publish("a")
    with shelf.store.write() as tx:
        reading(shelf, tx, "a", "b")
        everything = list(tx.conn.execute(t.items.select().order_by(t.items.c.id)).scalars())
        handed_out = claims.next_items(tx, shelf.batch_id, 9)
        assert [one.item_id for one in handed_out] == everything[:1]
        assert [one.row_key for one in claims.candidates(tx, everything)] == ["a"]


def test_a_row_that_another_key_sent_is_not_claimed(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    shelf.buy("a", LOST, account="old")
    shelf.clock.now += 600_000
    assert claim(shelf) == ["b"]


def test_what_a_chunk_leaves_behind_may_go_out_again_at_once(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    ids = (shelf.item("a").item_id, shelf.item("b").item_id)
    with shelf.store.write() as tx:
        chunk = claims.Chunk("c", shelf.batch_id, "b@default", ids, 1, 2)
        claims.reserve(tx, chunk, until=tx.now + 20_000)
        assert claims.next_items(tx, shelf.batch_id, 9) == []
    assert claim(shelf, *ids, room=1) == ["a"]
    with shelf.store.read() as tx:
        assert [one.item_id for one in claims.next_items(tx, shelf.batch_id, 9)] == [ids[1]]


def test_a_message_that_must_have_got_lost_takes_no_slot(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        claims.reserve(tx, claims.Chunk("c", shelf.batch_id, "t", (), 1, 2), until=tx.now + 20_000)
        assert claims.unstarted(tx) == 1
    shelf.clock.now += 20_000
    with shelf.store.write() as tx:
        assert claims.unstarted(tx) == 0


@pytest.mark.parametrize("why", ["paused", "cancelled", "unreadable", "finished", "unpublished"])
def test_a_batch_that_must_not_send_is_not_served(shelf: Shelf, why: str) -> None:
    if why != "unpublished":
        shelf.publish("a")
        with shelf.store.read() as tx:
            assert [one.id for one in claims.sendable_batches(tx)] == [shelf.batch_id]
    with shelf.store.write() as tx:
        match why:
            case "paused" | "cancelled":
                steering.want(tx, shelf.batch_id, Wanted(why), actor="me")
            case "unreadable":
                batches.stop(tx, shelf.batch_id, Stop.COST_UNREADABLE, "what?", actor="me")
            case "finished":
                steering.withdraw_unsent(tx, shelf.batch_id, actor="me")
                batches.finish_ended(tx)
        assert claims.sendable_batches(tx) == []
    if why != "unpublished" and why != "finished":
        assert not batches.sends(shelf.batch)


def test_the_batch_served_least_goes_first(shelf: Shelf) -> None:
    shelf.publish("a")
    other = Shelf(shelf.store, shelf.clock, "other")
    other.publish("a")
    with shelf.store.write() as tx:
        batches.serve(tx, shelf.batch_id, 5)
        first, second = claims.sendable_batches(tx)
        assert (first.name, second.name) == ("other", "b")
        batches.serve(tx, other.batch_id, 6)
        assert [one.name for one in claims.sendable_batches(tx)] == ["b", "other"]


def test_only_living_workers_that_submit_are_counted(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        workers.seen(tx, "gone", processes=1, submits=True)
    shelf.clock.now += workers.ALIVE_MS
    with shelf.store.write() as tx:
        workers.seen(tx, "buyer", processes=2, submits=True)
        workers.seen(tx, "asker", processes=4, submits=False)
        assert workers.submitting_processes(tx) == 2
        assert workers.alive(tx) == ["asker", "buyer"]


# Ends.


@pytest.mark.parametrize("state", sorted(State))
def test_a_batch_ends_when_no_row_is_open(shelf: Shelf, state: State) -> None:
    shelf.publish("a", "b")
    shelf.buy("b", SUCCEEDED)
    spoken = shelf.buy("a", accepted(TaskStatus.QUEUED))
    with shelf.store.write() as tx:
        tx.conn.execute(update(t.items).where(t.items.c.id == spoken.item_id).values(state=state))
        mark(tx, spoken, state if state in SUBMISSION_STATES else S.REJECTED)
        ended = [one.id for one in batches.finish_ended(tx)]
    assert ended == ([shelf.batch_id] if state in TERMINAL else [])


def mark(tx: Tx, stored: Stored, state: State) -> None:
    s = t.submissions.c
    tx.conn.execute(update(t.submissions).where(s.id == stored.id).values(state=state))


def test_a_purchase_that_speaks_for_no_row_keeps_no_batch_open(shelf: Shelf) -> None:
    shelf.publish("a")
    first = shelf.buy("a", accepted(TaskStatus.FAILED))
    with shelf.store.write() as tx:
        steering.retry(tx, shelf.batch_id, [first.item_id], actor="me")
        assert batches.finish_ended(tx) == []
    shelf.buy("a", SUCCEEDED)
    with shelf.store.write() as tx:
        mark(tx, first, S.QUEUED)
        assert [one.id for one in batches.finish_ended(tx)] == [shelf.batch_id]


def test_a_batch_that_is_still_being_read_does_not_end(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        assert batches.finish_ended(tx) == []


# Gates.


def close(shelf: Shelf, account: str, until: int | None, reason: GateReason) -> None:
    with shelf.store.write() as tx:
        gates.close(
            tx,
            provider=PROVIDER,
            account=account,
            model=gates.ANY_MODEL,
            reason=reason,
            message="m",
            mend="do",
            until=until,
            probe_at=None if until else tx.now + 30_000,
        )


def closed(shelf: Shelf, account: str = "acc") -> list[tuple[GateReason, int | None]]:
    with shelf.store.read() as tx:
        return [(gate.reason, gate.probe_at) for gate in gates.closed(tx, PROVIDER, account)]


def test_a_gate_bars_only_its_own_key(shelf: Shelf) -> None:
    close(shelf, "old", None, GateReason.UNAUTHORIZED)
    assert len(closed(shelf, "old")) == 1
    assert closed(shelf) == []


def test_a_purchase_does_not_open_a_gate_that_waits_for_a_person(shelf: Shelf) -> None:
    close(shelf, "acc", None, GateReason.FORBIDDEN)
    with shelf.store.write() as tx:
        gates.note_accepted(tx, PROVIDER, "acc")
        assert gates.last_accepted(tx, PROVIDER, "acc") == tx.now
    assert [reason for reason, _ in closed(shelf)] == [GateReason.FORBIDDEN]


def test_a_start_tries_only_gates_that_do_not_open_by_time(shelf: Shelf) -> None:
    now = shelf.clock.now
    close(shelf, "acc", now + 1000, GateReason.RATE_LIMITED)
    close(shelf, "old", None, GateReason.FORBIDDEN)
    with shelf.store.write() as tx:
        gates.probe_now(tx, PROVIDER, "acc")
        gates.probe_now(tx, PROVIDER, "old")
    assert closed(shelf) == [(GateReason.RATE_LIMITED, None)]
    assert closed(shelf, "old") == [(GateReason.FORBIDDEN, now)]


# Intake.


def test_a_row_that_was_taken_back_is_not_removed_again(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    with shelf.store.write() as tx:
        publish(shelf, tx, reading(shelf, tx, "a"), prune=True)
    with shelf.store.write() as tx:
        found = intake.difference(tx, shelf.batch_id, reading(shelf, tx, "a"))
    assert (found.removed, found.removed_pending) == (0, 0)


def test_a_removed_row_that_was_sent_is_not_taken_back(shelf: Shelf) -> None:
    shelf.publish("a", "b", "c")
    shelf.claim("b")
    shelf.buy("c", SUCCEEDED)
    with shelf.store.write() as tx:
        assert publish(shelf, tx, reading(shelf, tx, "a"), prune=True) == 0
    assert shelf.states() == {"a": S.PENDING, "b": S.SUBMITTING, "c": S.SUCCEEDED}


def test_an_edit_undone_after_the_edited_row_was_sent_buys_nothing(shelf: Shelf) -> None:
    shelf.publish(row("a", text="first"))
    shelf.publish(row("a", text="second"))
    shelf.claim("a")
    shelf.publish(row("a", text="first"))
    with shelf.store.read() as tx:
        states = {one.state for one in claims.next_items(tx, shelf.batch_id, 9)}
    assert states == set()


def test_one_reading_of_a_batch_at_a_time(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        assert intake.lock(tx, shelf.batch_id, "mine")
        assert intake.lock(tx, shelf.batch_id, "mine")
        assert not intake.lock(tx, shelf.batch_id, "yours")
        intake.unlock(tx, shelf.batch_id, "yours")
        assert not intake.lock(tx, shelf.batch_id, "yours")
    shelf.clock.now += intake.LOCK_MS + 1
    with shelf.store.write() as tx:
        assert intake.lock(tx, shelf.batch_id, "yours")
        assert not intake.lock(tx, shelf.batch_id, "mine")
        intake.unlock(tx, shelf.batch_id, "yours")
        assert intake.lock(tx, shelf.batch_id, "mine")


def test_a_sweep_leaves_what_was_published(shelf: Shelf) -> None:
    shelf.publish("a")
    with shelf.store.write() as tx:
        reading(shelf, tx, "a", "b")
        intake.sweep(tx, shelf.batch_id)
        assert intake.last_position(tx, shelf.batch_id) == 1
    assert shelf.states() == {"a": S.PENDING}


def test_a_reading_that_was_dropped_does_not_vouch_for_rows_of_the_next(shelf: Shelf) -> None:
    shelf.publish("a", "b", "c")
    shelf.buy("a", SUCCEEDED)
    with shelf.store.write() as tx:
        reading(shelf, tx, "a", "b", "c", "d")
        intake.sweep(tx, shelf.batch_id)
    with shelf.store.write() as tx:
        revision = reading(shelf, tx, "b", edited=["a"])
        found = intake.difference(tx, shelf.batch_id, revision)
    assert (found.changed_sent, found.known, found.removed_pending) == (1, 1, 1)
    assert found.to_send == 0


def test_new_rows_open_a_finished_batch_and_known_ones_do_not(shelf: Shelf) -> None:
    shelf.publish("a")
    shelf.buy("a", SUCCEEDED)
    with shelf.store.write() as tx:
        assert len(batches.finish_ended(tx)) == 1
    shelf.publish("a")
    assert shelf.batch.finished_at is not None
    shelf.publish("a", "b")
    assert shelf.batch.finished_at is None
