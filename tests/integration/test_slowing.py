"""What a refusal as one too many does to the senders, and what the limiter's absence does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orchestrator.domain.states import State
from orchestrator.limits import Granted, RateLimiter, Wait
from orchestrator.services import polling, submission
from orchestrator.services.desk import Desk
from tests.support.shop import Shop, accept


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Iterator[Shop]:
    made = Shop(tmp_path, broker, accept)
    yield made
    made.store.close()


async def refuse(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, json={"error": {"code": "slow", "message": "slow down"}})


@pytest.mark.parametrize("buys", [True, False])
def test_a_429_slows_its_own_kind_for_the_whole_fleet(shop: Shop, buys: bool) -> None:
    batch = shop.submit(1)
    ids = shop.due(batch)
    if not buys:
        shop.buy(ids)
        with shop.store.write() as tx:
            tx.conn.exec_driver_sql("UPDATE submissions SET due_at = 0, lease_token = 'p'")
    shop.answer = refuse

    async def work(desk: Desk) -> int:
        async with Redis.from_url(shop.broker) as server:
            limiter = RateLimiter(server, account="acc", rate=0.5, burst=10)
            desk = replace(desk, limiter=limiter)
            if buys:
                answered = await submission.run_chunk(desk, "c", ids, probe=False)
            else:
                answered = await polling.run_chunk(desk, "p")
            await limiter.open()
            assert isinstance(await limiter.acquire(buys=buys), Wait)
            assert isinstance(await limiter.acquire(buys=not buys), Granted)
            return answered

    assert asyncio.run(shop.with_desk(work)) == 1


def test_without_the_limiter_nothing_is_sent_and_it_goes_on_by_itself(
    shop: Shop, tmp_path: Path
) -> None:
    batch = shop.submit(3)
    ids = shop.due(batch)

    async def work(desk: Desk) -> int:
        path = str(tmp_path / "none")
        async with Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0)) as away:
            limiter = RateLimiter(away, account="acc", rate=50, burst=10)
            cut_off = replace(desk, limiter=limiter)
            return await submission.run_chunk(cut_off, "c", ids, probe=False)

    assert asyncio.run(shop.with_desk(work)) == 3
    assert shop.posts == []
    assert shop.counts(batch) == {State.PENDING: 3}
    assert shop.buy(shop.due(batch)) == 3
    assert len(shop.posts) == 3
