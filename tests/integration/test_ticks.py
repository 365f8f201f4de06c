"""What each tick does, and does not do again: dispatch, polling, rescue, finishing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.outcome import Detail, GateReason
from orchestrator.domain.states import State
from orchestrator.domain.submission import GateOrder, NeedsPerson
from orchestrator.services import dispatch, finishing, gatekeeping, polling, rescue
from orchestrator.services.context import Timing
from orchestrator.store import batches, lives, steering, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.shop import Shop, accept, limited
from tests.support.stores import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(tmp_path: Path, clock: Clock) -> Iterator[Shop]:
    """An installation whose database's time is moved by hand."""
    made = Shop(tmp_path, "", accept)
    made.store.close()
    made.store = Store(f"sqlite:///{tmp_path / 'shop.db'}", clock=clock)
    timing = Timing(request=2_000, chunk_size=2)
    made.context = replace(made.context, store=made.store, timing=timing)
    yield made
    made.store.close()


def tick(shop: Shop) -> list[Chunk]:
    """What dispatch sends; one process is there to take it."""
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
    assert dispatch.run_once(shop.context, chunks.append) == len(chunks)
    return chunks


def close(shop: Shop, reason: GateReason, *, probe_due: bool) -> None:
    with shop.store.write() as tx:
        gatekeeping.close(tx, shop.context, "acc", GateOrder(reason, Detail(), None))
        if probe_due:
            tx.conn.execute(t.gates.update().values(probe_at=0))


def bought(shop: Shop, number: int, **row: object) -> Batch:
    """A batch whose rows stand as `row` says, each with its submission."""
    batch = shop.submit(number)
    with shop.store.write() as tx:
        for item in tx.conn.execute(t.items.select()).all():
            given = {"batch_id": batch.id, "item_id": item.id, "generation": 0, "account": "acc"}
            given |= {"idempotency_key": f"k{item.id}", "price_class": "std", "first_sent_at": 1}
            statement = t.submissions.insert().values(**(given | row)).returning(t.submissions.c.id)
            made = tx.conn.execute(statement).scalar_one()
            tx.conn.execute(
                t.items.update()
                .where(t.items.c.id == item.id)
                .values(submission_id=made, state=row["state"])
            )
    return batch


def submissions(shop: Shop) -> list[dict[str, object]]:
    with shop.store.read() as tx:
        return [dict(row._mapping) for row in tx.conn.execute(t.submissions.select())]


def dead_worker(shop: Shop, name: str) -> Path:
    """The lock of a process that is gone."""
    shop.context.presence.mkdir(exist_ok=True)
    lock = shop.context.presence / f"{name}.lock"
    lock.touch()
    return lock


def test_dispatch_keeps_two_chunks_ahead_of_each_process(shop: Shop) -> None:
    shop.submit(9)
    assert [len(chunk.item_ids) for chunk in tick(shop)] == [2, 2]
    assert tick(shop) == []
    with shop.store.write() as tx:
        tx.conn.execute(t.chunks.delete())
    assert [(chunk.first, chunk.last) for chunk in tick(shop)] == [(5, 6), (7, 8)]


def test_dispatch_leaves_room_in_flight(shop: Shop) -> None:
    shop.context = replace(shop.context, accounts=limited(3))
    shop.submit(9)
    assert [len(chunk.item_ids) for chunk in tick(shop)] == [2, 1]


def test_dispatch_sends_nothing_to_a_provider_that_the_batch_was_not_made_for(shop: Shop) -> None:
    shop.submit(1)
    shop.context = replace(shop.context, provider="http://elsewhere/api/v1")
    assert tick(shop) == []


def test_dispatch_sends_no_row_behind_a_gate_that_no_row_may_try(shop: Shop) -> None:
    shop.submit(1)
    close(shop, GateReason.FORBIDDEN, probe_due=True)
    assert tick(shop) == []


def test_dispatch_tries_a_gate_with_one_row_when_its_probe_is_due(shop: Shop) -> None:
    shop.submit(9)
    close(shop, GateReason.PAYMENT_REQUIRED, probe_due=False)
    assert tick(shop) == []
    close(shop, GateReason.PAYMENT_REQUIRED, probe_due=True)
    (chunk,) = tick(shop)
    assert (chunk.probe, len(chunk.item_ids)) == (True, 1)
    assert tick(shop) == []


def test_dispatch_lifts_a_stop_that_has_no_reason_any_more(shop: Shop) -> None:
    batch = shop.submit(1, budget=1_000_000_000)
    with shop.store.write() as tx:
        batches.stop(tx, batch.id, Stop.BUDGET, "no money", actor="me")
    assert len(tick(shop)) == 1
    with shop.store.read() as tx:
        assert batches.get(tx, batch.id).stop_code is None


def test_a_task_over_which_a_worker_died_gets_a_poll_chunk_of_its_own(shop: Shop) -> None:
    bought(shop, 2, state=State.QUEUED, task_id="x", lapses=1)
    leased: list[int] = []
    polling.run_once(shop.context, lambda _token, number, _account: leased.append(number))
    assert leased == [1, 1]


def test_no_more_poll_chunks_are_sent_than_are_begun(shop: Shop) -> None:
    bought(shop, polling.MOST_CHUNKS + 3, state=State.QUEUED, task_id="x", lapses=1)
    tokens: list[str] = []

    def tick() -> int:
        return polling.run_once(shop.context, lambda token, *_: tokens.append(token))

    assert [tick(), tick()] == [polling.MOST_CHUNKS, 0]
    with shop.store.write() as tx:
        for token in tokens[:2]:
            lives.own_poll_lease(tx, token, "worker", until=tx.now + 60_000)
    assert tick() == 2


def test_a_dead_asker_frees_its_tasks_at_once(shop: Shop) -> None:
    bought(shop, 2, state=State.QUEUED, task_id="x", due_at=1 << 50)
    with shop.store.write() as tx:
        held = {"lease_token": "p", "lease_until": tx.now + 60_000, "lease_owner": "dead"}
        tx.conn.execute(t.submissions.update().values(**held))
    lock = dead_worker(shop, "dead")
    rescue.run_once(shop.context)
    assert not lock.exists()
    for row in submissions(shop):
        assert (row["state"], row["lease_token"], row["lapses"]) == (State.QUEUED, None, 1)
        assert row["due_at"] < 1 << 50


def test_a_dead_buyer_leaves_what_may_have_been_charged(shop: Shop) -> None:
    bought(shop, 2, state=State.SUBMITTING, lease_token="t", lease_until=1 << 50, lease_owner="d")
    assert rescue.run_once(shop.context) == rescue.Report(0, 0)
    dead_worker(shop, "d")
    assert rescue.run_once(shop.context).lapsed == 2
    assert {row["state"] for row in submissions(shop)} == {State.UNKNOWN}


def test_a_key_grown_too_old_becomes_a_person_s_once(shop: Shop) -> None:
    bought(shop, 1, state=State.UNKNOWN, unresolved=True)
    assert rescue.run_once(shop.context) == rescue.Report(0, 1)
    assert [row["needs_person"] for row in submissions(shop)] == [NeedsPerson.KEY_EXPIRED]
    assert rescue.run_once(shop.context) == rescue.Report(0, 0)


def end_all(shop: Shop, state: State) -> None:
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(state=state))


def events(shop: Shop) -> list[str]:
    with shop.store.read() as tx:
        return list(tx.conn.execute(t.outbox.select().with_only_columns(t.outbox.c.kind)).scalars())


def test_each_end_of_a_batch_is_announced_once(shop: Shop, clock: Clock) -> None:
    batch = shop.submit(1)
    assert finishing.run_once(shop.context) == 0
    end_all(shop, State.FAILED)
    assert finishing.run_once(shop.context) == 1
    assert finishing.run_once(shop.context) == 0
    assert events(shop) == ["batch.finished"]
    with shop.store.write() as tx:
        ids = list(tx.conn.execute(t.items.select().with_only_columns(t.items.c.id)).scalars())
        assert steering.retry(tx, batch.id, ids, actor="me") == 1
    clock.now += 1
    end_all(shop, State.SUCCEEDED)
    assert finishing.run_once(shop.context) == 1
    assert events(shop) == ["batch.finished"] * 2


def test_what_came_back_unsent_does_not_keep_a_cancelled_batch_open(shop: Shop) -> None:
    batch = shop.submit(2)
    with shop.store.write() as tx:
        steering.want(tx, batch.id, Wanted.CANCELLED, actor="me")
    assert finishing.run_once(shop.context) == 1
    assert shop.counts(batch) == {State.WITHDRAWN: 2}


def test_a_small_batch_behind_a_large_one_starts_within_two_chunks(shop: Shop) -> None:
    """However many rows wait before it, and however many of them were served already."""
    shop.context = replace(shop.context, timing=Timing(request=2_000, chunk_size=50))
    large = shop.submit(1_000)
    for _ in range(5):
        assert {chunk.batch_id for chunk in tick(shop)} == {large.id}
        with shop.store.write() as tx:
            tx.conn.execute(t.chunks.delete())
    small = shop.submit(20, name="small")
    assert sum(len(chunk.item_ids) for chunk in tick(shop) if chunk.batch_id == small.id) == 20
