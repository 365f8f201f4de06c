"""Tasks in flight are held where refusals have shown that the provider takes no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from orchestrator.domain.learned_cap import SHORTEST, TOGETHER
from orchestrator.domain.states import State
from orchestrator.limits import Closed, Granted, RateLimiter
from orchestrator.services import capping, dispatch, polling, submission
from orchestrator.services.desk import Desk
from orchestrator.store import tables as t
from orchestrator.store import workers
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.shop import Shop, accept
from tests.support.stores import Clock

SLOTS = 3
LONG = 60_000
"""Gates have opened by then, and rows that were refused are due again."""


class Provider:
    """It takes so many, and 429 is its answer to more."""

    def __init__(self) -> None:
        self.taken = 0
        self.headers: dict[str, str] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            if self.taken >= SLOTS:
                error = {"error": {"code": "many", "message": "no more"}}
                return httpx.Response(429, json=error, headers=self.headers)
            self.taken += 1
        return await accept(request)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(tmp_path: Path, broker: str, clock: Clock) -> Iterator[Shop]:
    """An installation whose database's time is moved by hand, before such a provider."""
    made = Shop(tmp_path, broker, Provider())
    made.store.close()
    made.store = Store(f"sqlite:///{tmp_path / 'shop.db'}", clock=clock)
    made.context = replace(made.context, store=made.store)
    yield made
    made.store.close()


def due_again(shop: Shop) -> None:
    """Gates are open, and what was refused may be sent."""
    with shop.store.write() as tx:
        tx.conn.execute(t.gates.delete())
        tx.conn.execute(t.items.update().values(due_at=0))
        tx.conn.execute(t.submissions.update().values(due_at=0))


def learn(shop: Shop, clock: Clock) -> Batch:
    """All slots taken, and two refusals at that."""
    batch = shop.submit(9)
    ids = shop.due(batch)
    assert shop.buy(ids[:5]) == 5
    clock.now += TOGETHER
    due_again(shop)
    assert shop.buy(ids[5:7]) == 2
    due_again(shop)
    assert shop.counts(batch) == {State.PENDING: 6, State.QUEUED: SLOTS}
    return batch


def tick(shop: Shop) -> list[Chunk]:
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
        tx.conn.execute(t.chunks.delete())
    dispatch.run_once(shop.context, chunks.append)
    return chunks


def test_no_more_are_sent_than_were_in_flight_at_two_refusals(shop: Shop, clock: Clock) -> None:
    batch = learn(shop, clock)
    sent = len(shop.posts)
    assert tick(shop) == []
    assert shop.buy(shop.due(batch)) == 0
    clock.now += SHORTEST + 4_000
    due_again(shop)
    (chunk,) = tick(shop)
    assert len(chunk.item_ids) == 1, "a further try, by a little"
    assert len(shop.posts) == sent


def test_what_is_refused_at_the_cap_does_not_slow_the_pace(shop: Shop, clock: Clock) -> None:
    batch = learn(shop, clock)
    clock.now += SHORTEST + 4_000
    ids = shop.due(batch)[:1]

    async def work(desk: Desk) -> int:
        async with Redis.from_url(shop.broker) as server:
            limiter = RateLimiter(server, account="acc", rate=0.5, burst=10)
            desk = replace(desk, limiter=limiter)
            answered = await submission.run_chunk(desk, "c", ids, probe=False)
            await limiter.open()
            assert isinstance(await limiter.acquire(), Granted)
            return answered

    assert asyncio.run(shop.with_desk(work)) == 1
    assert shop.counts(batch)[State.QUEUED] == SLOTS


def test_what_is_refused_at_the_cap_stops_no_polls_and_is_followed_up_at_once(
    shop: Shop, clock: Clock
) -> None:
    batch = learn(shop, clock)
    clock.now += SHORTEST + 4_000
    ids = shop.due(batch)[:1]
    assert isinstance(shop.answer, Provider)
    shop.answer.headers = {"Retry-After": "1"}
    gates: list[object] = []

    async def work(desk: Desk) -> int:
        loop = asyncio.get_running_loop()

        def meanwhile() -> None:
            for buys in (True, False):
                asked = asyncio.run_coroutine_threadsafe(desk.limiter.acquire(buys=buys), loop)
                gates.append(type(asked.result()))

        sending = asyncio.create_task(
            submission.run_chunk(desk, "c", ids, probe=False, meanwhile=meanwhile)
        )
        shut = 0
        for _ in range(500):
            assert isinstance(await desk.limiter.acquire(buys=False), Granted)
            shut += isinstance(await desk.limiter.acquire(), Closed)
            if (await asyncio.wait([sending], timeout=0.01))[0]:
                break
        assert shut > 0
        return await sending

    assert asyncio.run(shop.with_desk(work)) == 1
    assert len(gates) == 4, "while it is sent, and when the gate is open again"
    assert gates[1:] == [Granted] * 3


def test_freed_room_is_dispatched_as_soon_as_the_ends_are_on_record(
    shop: Shop, clock: Clock
) -> None:
    learn(shop, clock)
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
        tx.conn.execute(
            t.submissions.update()
            .where(t.submissions.c.state == State.QUEUED)
            .values(lease_token="p")
        )

    def refill() -> None:
        dispatch.refill(shop.context, "acc", chunks.append)

    refill()
    assert chunks == []
    asyncio.run(shop.with_desk(lambda desk: polling.run_chunk(desk, "p", refill=refill)))
    assert sum(len(chunk.item_ids) for chunk in chunks) == SLOTS


def test_without_a_limit_nothing_is_dispatched_besides(shop: Shop) -> None:
    shop.submit(1)
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
    assert dispatch.refill(shop.context, "acc", lambda _chunk: None) == 0


def test_another_account_and_another_model_are_not_held(shop: Shop, clock: Clock) -> None:
    learn(shop, clock)
    with shop.store.write() as tx:
        assert capping.limit(tx, shop.context, "acc").by_model == {"kling-v2-6": SLOTS}
        assert not capping.limit(tx, shop.context, "another")
        assert capping.at_cap(tx, shop.context, "acc") == {"kling-v2-6"}
        assert capping.at_cap(tx, shop.context, "another") == frozenset()


def test_to_lose_what_was_learned_is_harmless(shop: Shop, clock: Clock) -> None:
    batch = learn(shop, clock)
    with shop.store.write() as tx:
        tx.conn.execute(t.refusals.delete())
    assert shop.buy(shop.due(batch)) == 6
    assert shop.counts(batch) == {State.PENDING: 6, State.QUEUED: SLOTS}


def test_polls_wait_for_a_gate_that_soon_opens(shop: Shop, clock: Clock) -> None:
    batch = learn(shop, clock)
    with shop.store.write() as tx:
        tx.conn.execute(
            t.submissions.update()
            .where(t.submissions.c.state == State.QUEUED)
            .values(lease_token="p")
        )

    async def work(desk: Desk) -> int:
        await desk.limiter.close("rate_limited", 0.2)
        return await polling.run_chunk(desk, "p")

    assert asyncio.run(shop.with_desk(work)) == SLOTS
    assert shop.counts(batch)[State.SUCCEEDED] == SLOTS
