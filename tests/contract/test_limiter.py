"""The fleet-wide limit against a real server: what it grants, when it opens, what it refuses."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orchestrator.errors import ServiceError
from orchestrator.limits import Closed, Granted, RateLimiter, Wait
from tests.support.valkey import Valkey, short_directory, valkey_server

RATE = "orchestrator:{abc}:rate"
GATE = "orchestrator:{abc}:gate"


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with short_directory() as directory, valkey_server(directory) as valkey:
        yield valkey


@asynccontextmanager
async def _redis(server: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
        yield redis


def _run(server: Valkey, scenario: Callable[[Redis], Awaitable[None]]) -> None:
    async def main() -> None:
        async with _redis(server) as redis:
            await scenario(redis)

    asyncio.run(main())


def test_a_burst_is_granted_and_the_next_one_is_told_the_exact_wait(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=0.1, burst=3)
        answers = [await limiter.acquire() for _ in range(4)]
        assert answers[:3] == [Granted()] * 3
        assert isinstance(answers[3], Wait)
        # 10 seconds less what the calls before it took.
        assert 8 < answers[3].seconds <= 10

    _run(server, scenario)


def test_many_at_once_get_what_they_would_get_one_by_one(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        now = 1_800_000_000_000_000
        together = RateLimiter(redis, account="abc", rate=10, burst=7, clock=lambda: now)
        single = RateLimiter(redis, account="def", rate=10, burst=7, clock=lambda: now)
        assert await together.acquire(most=3) == Granted(count=3)
        assert await together.acquire(most=50) == Granted(count=4)
        assert [await single.acquire() for _ in range(7)] == [Granted()] * 7
        assert await together.acquire(most=50) == await single.acquire() == Wait(0.1)

    _run(server, scenario)


def test_many_at_once_keep_to_the_pace_after_a_refusal(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        now = 1_800_000_000_000_000
        together = RateLimiter(redis, account="abc", rate=100, burst=100, clock=lambda: now)
        single = RateLimiter(redis, account="def", rate=100, burst=100, clock=lambda: now)
        for limiter in (together, single):
            await limiter.slow(Granted(now - 1))
        now += 1_000_000
        one_by_one = 0
        while isinstance(await single.acquire(), Granted):
            one_by_one += 1
        granted = await together.acquire(most=100)
        assert granted == Granted(count=one_by_one)
        assert 1 < one_by_one < 100
        assert isinstance(await together.acquire(most=1), Wait)

    _run(server, scenario)


def test_the_told_wait_is_enough_and_not_less(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=0.001, burst=1)
        assert await limiter.acquire() == Granted()
        told = await limiter.acquire()
        assert isinstance(told, Wait)
        # Time is moved by moving what the server compares its clock with.
        arrival = int(await redis.get(RATE) or 0)
        await redis.set(RATE, arrival - math.floor(told.seconds * 1e6) + 500_000)
        assert isinstance(await limiter.acquire(), Wait)
        await redis.set(RATE, arrival - math.ceil(told.seconds * 1e6))
        assert await limiter.acquire() == Granted()

    _run(server, scenario)


def test_an_arrival_far_ahead_is_cut_to_a_full_burst(server: Valkey) -> None:
    """A server whose clock was set back must not stop the fleet for that long."""

    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=1, burst=2)
        await redis.set(RATE, 9 * 10**15)
        told = await limiter.acquire()
        assert isinstance(told, Wait)
        assert told.seconds <= 1

    _run(server, scenario)


def test_accounts_and_keys_are_apart_and_forget_themselves(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        one = RateLimiter(redis, account="abc", rate=1, burst=1)
        other = RateLimiter(redis, account="def", rate=1, burst=1)
        assert await one.acquire() == Granted()
        assert await other.acquire() == Granted()
        assert isinstance(await one.acquire(), Wait)
        assert set(await redis.keys()) == {RATE.encode(), b"orchestrator:{def}:rate"}
        assert 0 < await redis.pttl(RATE) <= 121_000

    _run(server, scenario)


def test_without_a_rate_only_the_gate_speaks(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=None, burst=1)
        assert [await limiter.acquire() for _ in range(50)] == [Granted()] * 50
        await limiter.close("unauthorized", None)
        assert await limiter.acquire() == Closed(None, "unauthorized")
        await limiter.open()
        assert await limiter.acquire() == Granted()

    _run(server, scenario)


def test_a_timed_gate_names_its_time_and_opens_by_itself(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=1, burst=1)
        await limiter.close("rate_limited", 30)
        closed = await limiter.acquire()
        assert isinstance(closed, Closed)
        assert closed.reason == "rate_limited"
        assert closed.seconds is not None
        assert 29 < closed.seconds <= 30
        assert await redis.get(RATE) is None, "a closed gate spends nothing of the rate"
        await redis.pexpire(GATE, 0)
        assert await limiter.acquire() == Granted()

    _run(server, scenario)


def test_a_gate_for_purchases_lets_polls_pass_unless_another_is_closed(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=100, burst=9)
        await limiter.close("rate_limited", 60, asks=False)
        assert isinstance(await limiter.acquire(buys=False), Granted)
        told = await limiter.acquire()
        assert isinstance(told, Closed)
        assert (told.reason, 59 < (told.seconds or 0) <= 60) == ("rate_limited", True)
        await limiter.close("unavailable", 5)
        assert isinstance(await limiter.acquire(buys=False), Closed)
        await limiter.close("rate_limited", 70, asks=False)
        assert isinstance(await limiter.acquire(buys=False), Closed)
        assert await redis.pttl(GATE) > 60_000
        await limiter.close("payment_required", None)
        await limiter.close("rate_limited", 900, asks=False)
        assert await limiter.acquire() == Closed(None, "payment_required")

    _run(server, scenario)


def test_a_gate_is_never_shortened(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=1, burst=1)
        await limiter.close("unavailable", 60)
        await limiter.close("rate_limited", 5)
        assert await redis.pttl(GATE) > 50_000
        await limiter.close("payment_required", None)
        await limiter.close("rate_limited", 900)
        assert await limiter.acquire() == Closed(None, "payment_required")
        assert await redis.pttl(GATE) > 0, "even a held gate expires: the database owns it"

    _run(server, scenario)


def test_text_answers_are_understood_too(server: Valkey) -> None:
    async def main() -> None:
        async with Redis.from_url(server.url, decode_responses=True) as redis:
            await redis.flushall()
            limiter = RateLimiter(redis, account="abc", rate=1, burst=1)
            assert await limiter.acquire() == Granted()
            assert isinstance(await limiter.acquire(), Wait)
            await limiter.close("forbidden", 5)
            assert isinstance(await limiter.acquire(), Closed)

    asyncio.run(main())


def test_a_server_that_forgot_its_scripts_is_taught_again(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        limiter = RateLimiter(redis, account="abc", rate=1, burst=2)
        assert await limiter.acquire() == Granted()
        await redis.script_flush()
        assert await limiter.acquire() == Granted()

    _run(server, scenario)


def test_no_server_means_an_error_and_no_grant(tmp_path: Path) -> None:
    async def main() -> None:
        async with Redis(
            unix_socket_path=str(tmp_path / "none"), retry=Retry(NoBackoff(), 0)
        ) as redis:
            limiter = RateLimiter(redis, account="abc", rate=1, burst=1)
            for call in (limiter.acquire, limiter.open):
                with pytest.raises(ServiceError, match="cannot be asked"):
                    await call()
            with pytest.raises(ServiceError):
                await limiter.close("forbidden", None)

    asyncio.run(main())


def test_foreign_data_under_the_key_is_an_error(server: Valkey) -> None:
    async def scenario(redis: Redis) -> None:
        await redis.lpush(RATE, "x")
        with pytest.raises(ServiceError):
            await RateLimiter(redis, account="abc", rate=1, burst=1).acquire()

    _run(server, scenario)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (1, 0)])
def test_a_rate_that_is_none_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        RateLimiter(Redis(), account="abc", rate=rate, burst=burst)


Hammered = tuple[int, float, float]
"""Grants, and the monotonic times between which they were asked for."""


def _hammer(url: str, seconds: float, results: multiprocessing.Queue[Hammered]) -> None:
    async def main() -> Hammered:
        async with Redis.from_url(url) as redis:
            limiter = RateLimiter(redis, account="abc", rate=200, burst=10)
            start, granted = time.monotonic(), 0
            while time.monotonic() < start + seconds:
                granted += isinstance(await limiter.acquire(), Granted)
            return granted, start, time.monotonic()

    results.put(asyncio.run(main()))


def test_processes_share_one_rate(server: Valkey) -> None:
    """Three processes ask as fast as they can; together they stay within rate * t + burst."""
    asyncio.run(_flush(server))
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Hammered] = context.Queue()
    workers = [context.Process(target=_hammer, args=(server.url, 1.0, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    granted, starts, ends = zip(*(results.get(timeout=30) for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    elapsed = max(ends) - min(starts)
    assert sum(granted) <= 200 * elapsed + 10
    assert sum(granted) >= 180, "the rate is used, not only kept"


async def _flush(server: Valkey) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
