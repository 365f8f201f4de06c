"""The circuit breaker: what closes it, what still leaves, and how it finds its way back."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from orchestrator.domain.breaker import TRIPS_AFTER
from orchestrator.domain.states import State
from orchestrator.services import dispatch, polling, status
from orchestrator.store import batches, gates, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from tests.support.shop import Shop, accept


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


async def fail(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text="oops")


def closed(shop: Shop) -> list[str]:
    with shop.store.read() as tx:
        found = gates.closed(tx, shop.context.provider, "acc")
        return [str(gate.reason) for gate in found]


def dispatched(shop: Shop) -> list[Chunk]:
    """What a tick sends to workers now; one process is there to take it."""
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
        tx.conn.execute(t.chunks.delete())
    dispatch.run_once(shop.context, chunks.append)
    return chunks


def due_now(shop: Shop) -> None:
    """Time passes: backoffs and the gate's next probe are due."""
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
        tx.conn.execute(t.items.update().values(due_at=0))
        tx.conn.execute(t.gates.update().values(probe_at=0))


def state_of(shop: Shop, batch: Batch) -> status.BatchStatus:
    with shop.store.read() as tx:
        return status.read(tx, shop.context, batches.get(tx, batch.id))


def test_a_run_of_equal_failures_stops_the_chunk_at_the_next_turn(shop: Shop) -> None:
    batch = shop.submit(50)
    shop.answer = fail
    shop.buy(shop.due(batch))
    assert TRIPS_AFTER <= len(shop.posts) < 50
    counts = shop.counts(batch)
    assert counts[State.UNKNOWN] == len(shop.posts)
    assert counts[State.PENDING] == 50 - len(shop.posts), "what was not sent holds nothing"
    assert closed(shop) == ["failing"]
    assert not state_of(shop, batch).settled, "it may mend by waiting"


def test_one_row_at_a_time_finds_the_way_back(shop: Shop) -> None:
    batch = shop.submit(50)
    shop.answer = fail
    shop.buy(shop.due(batch))
    sent = len(shop.posts)
    assert dispatched(shop) == [], "not before the probe is due"
    due_now(shop)
    (probe,) = dispatched(shop)
    assert (probe.probe, len(probe.item_ids)) == (True, 1)
    assert dispatched(shop) == [], "one at a time"
    shop.buy(list(probe.item_ids), probe=True)
    assert len(shop.posts) == sent + 1
    assert closed(shop) == ["failing"], "it failed again"

    due_now(shop)
    shop.answer = accept
    (probe,) = dispatched(shop)
    shop.buy(list(probe.item_ids), probe=True)
    assert closed(shop) == []
    due_now(shop)
    while chunks := dispatched(shop):
        for chunk in chunks:
            shop.buy(list(chunk.item_ids))
    assert shop.counts(batch) == {State.QUEUED: 50}
    assert len(set(shop.posts)) == 50


def test_failures_of_different_kinds_are_no_run(shop: Shop) -> None:
    batch = shop.submit(40)

    async def vary(request: httpx.Request) -> httpx.Response:
        if len(shop.posts) % 5 == 0:
            raise httpx.ReadError("reset", request=request)
        return await fail(request)

    shop.answer = vary
    shop.buy(shop.due(batch))
    assert len(shop.posts) == 40
    assert closed(shop) == []


def test_what_was_bought_is_collected_behind_a_held_gate(shop: Shop) -> None:
    batch = shop.submit(60)
    ids = shop.due(batch)
    assert shop.buy(ids[:5]) == 5
    shop.answer = fail
    shop.buy(ids[5:])
    assert closed(shop) == ["failing"]
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    tokens: list[str] = []
    polling.run_once(shop.context, lambda token, *_: tokens.append(token))
    shop.answer = accept
    assert shop.poll(tokens[0], gate="failing") == 5
    assert shop.counts(batch)[State.SUCCEEDED] == 5
