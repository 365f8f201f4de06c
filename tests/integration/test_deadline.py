"""After its deadline a batch sends nothing new; what may have been charged is asked again."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from orchestrator.domain.batch import BatchState, Stop
from orchestrator.domain.deadline import Deadline
from orchestrator.domain.states import State
from orchestrator.errors import UsageError
from orchestrator.services import deadlines, dispatch, intake, status
from orchestrator.services.status import BatchStatus
from orchestrator.store import batches, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from tests.support.shop import Shop, accept

S = State


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


def end(shop: Shop, batch: Batch, *, in_seconds: float) -> None:
    with shop.store.write() as tx:
        at = tx.now + round(in_seconds * 1000)
        deadlines.put(tx, batch, Deadline(at=at), actor="me")


def tick(shop: Shop) -> list[Chunk]:
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "one", processes=1, submits=True)
    dispatch.run_once(shop.context, chunks.append)
    return chunks


def now(shop: Shop, batch: Batch) -> BatchStatus:
    with shop.store.read() as tx:
        return status.read(tx, shop.context, batches.get(tx, batch.id))


def test_a_late_batch_stops_and_a_later_deadline_lets_it_go_on(shop: Shop) -> None:
    batch = shop.submit(2)
    end(shop, batch, in_seconds=-1)
    assert shop.buy(shop.due(batch)) == 0, "a message from before the deadline"
    assert tick(shop) == []
    stopped = now(shop, batch)
    assert (stopped.state, stopped.batch.stop_code) == (BatchState.BLOCKED, Stop.DEADLINE)
    assert stopped.exit_code() == 5
    assert "later deadline" in stopped.stop_mend()
    end(shop, batch, in_seconds=60)
    (chunk,) = tick(shop)
    assert shop.buy(list(chunk.item_ids)) == 2
    assert now(shop, batch).batch.stop_code is None
    assert len(shop.posts) == 2


def test_what_is_claimed_in_time_is_not_sent_too_late(shop: Shop) -> None:
    batch = shop.submit(1)
    end(shop, batch, in_seconds=5)
    clocks = iter([1_000.0])
    shop.clock = lambda: next(clocks, 1_010.0)
    assert shop.buy(shop.due(batch)) == 1
    assert shop.posts == []
    assert shop.counts(batch) == {S.PENDING: 1}
    assert now(shop, batch).batch.held_nanos == 0


def test_a_lost_answer_is_asked_for_after_the_deadline_too(tmp_path: Path, broker: str) -> None:
    async def lose(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone")

    shop = Shop(tmp_path, broker, lose)
    batch = shop.submit(1)
    shop.buy(shop.due(batch))
    assert shop.counts(batch) == {S.UNKNOWN: 1}
    end(shop, batch, in_seconds=-1)
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(due_at=0))
        tx.conn.execute(t.submissions.update().values(due_at=0))
    shop.answer = accept
    (chunk,) = tick(shop)
    assert shop.buy(list(chunk.item_ids)) == 1
    assert len(set(shop.posts)) == 1
    assert len(shop.posts) == 2
    assert shop.counts(batch) == {S.QUEUED: 1}


def test_new_rows_that_would_never_be_sent_are_refused(shop: Shop) -> None:
    spec = shop.folder / "late.yaml"
    spec.write_text("deadline: 2020-01-01T00:00Z\nprompts: [a kettle]\n")
    with pytest.raises(UsageError, match="the deadline of late@default has passed"):
        intake.take_in(
            shop.context,
            spec,
            options=lambda read: intake.Options("late", "default", deadline=read.header.deadline),
            confirm=lambda _proposal: True,
        )
