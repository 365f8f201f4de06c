"""The pace after refusals, in simulated time: the limiter's own scripts on a real server."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from orchestrator.limits import Closed, Granted, RateLimiter, Wait
from tests.support.valkey import Valkey, short_directory, valkey_server

SECOND = 1_000_000
FULL = 50.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with short_directory() as directory, valkey_server(directory) as valkey:
        yield valkey


@dataclass
class World:
    """A provider whose limit changes, and senders who have work at every moment."""

    limiter: RateLimiter
    limit: Callable[[float], float]
    latency: float
    now: int = 1_800_000_000 * SECOND
    answers: list[tuple[float, bool]] = field(default_factory=list)
    """When each came, in seconds from the start, and whether it was 429."""

    def clock(self) -> int:
        return self.now

    async def run(self, seconds: float) -> None:
        begin, tokens, refilled = self.now, self.limit(0), self.now
        on_way: list[tuple[int, int, bool]] = []
        while self.now < begin + seconds * SECOND:
            while on_way and on_way[0][0] <= self.now:
                _, at, refused = heapq.heappop(on_way)
                self.answers.append(((self.now - begin) / SECOND, refused))
                if refused:
                    await self.limiter.slow(Granted(at))
            match await self.limiter.acquire():
                case Granted(at):
                    rate = self.limit((self.now - begin) / SECOND)
                    tokens = min(max(rate, 1), tokens + (self.now - refilled) / SECOND * rate)
                    refilled = self.now
                    refused = tokens < 1
                    tokens -= not refused
                    heapq.heappush(on_way, (self.now + int(self.latency * SECOND), at, refused))
                case Wait(wait):
                    later = self.now + max(1, round(wait * SECOND))
                    self.now = min(later, on_way[0][0]) if on_way else later
                case Closed():
                    raise AssertionError

    def rate(self, start: float, end: float) -> float:
        """Accepted requests per second in a stretch of time."""
        return sum(start <= at < end and not bad for at, bad in self.answers) / (end - start)

    def refused(self) -> float:
        return sum(bad for _, bad in self.answers) / len(self.answers)


@asynccontextmanager
async def _world(
    server: Valkey, limit: Callable[[float], float], latency: float = 0.2
) -> AsyncIterator[World]:
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
        moments: list[World] = []
        limiter = RateLimiter(
            redis, account="abc", rate=FULL, burst=10, clock=lambda: moments[0].now
        )
        moments.append(World(limiter, limit, latency))
        yield moments[0]


@pytest.mark.parametrize("latency", [0.01, 0.5])
def test_a_limit_that_falls_and_comes_back_is_followed(server: Valkey, latency: float) -> None:
    """From 50 a second to 5 and back: few answers are 429, and the rate returns in a minute."""

    async def main() -> None:
        def limit(at: float) -> float:
            return 5 if 20 <= at < 80 else 50

        async with _world(server, limit, latency) as world:
            await world.run(150)
        assert world.rate(5, 20) > 45, "undisturbed, the full rate is used"
        assert world.refused() < 0.05
        assert world.rate(30, 80) > 3.5, "what the provider still takes is used"
        assert world.rate(135, 140) >= 45, "90 % of the rate within a minute"

    asyncio.run(main())


def test_refusals_of_requests_on_their_way_cut_once(server: Valkey) -> None:
    async def main() -> None:
        async with _world(server, lambda _at: 50) as world:
            turns = [await world.limiter.acquire() for _ in range(10)]
            world.now += SECOND
            cuts = [await world.limiter.slow(t) for t in turns if isinstance(t, Granted)]
            assert cuts == [True] + [False] * 9
            told = await world.limiter.acquire()
            assert told == Wait(pytest.approx(1 / (FULL * 0.7), abs=1e-5))

    asyncio.run(main())


def test_polls_keep_their_pace_while_submits_are_slowed(server: Valkey) -> None:
    async def main() -> None:
        async with _world(server, lambda _at: 50) as world:
            turn = await world.limiter.acquire()
            assert isinstance(turn, Granted)
            world.now += 1
            await world.limiter.slow(turn)
            assert isinstance(await world.limiter.acquire(), Wait)
            assert isinstance(await world.limiter.acquire(buys=False), Granted)

    asyncio.run(main())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20 * SECOND)), min_size=1, max_size=30),
    st.integers(1, 200),
)
def test_whatever_comes_the_pace_stays_within_its_bounds(
    server: Valkey, steps: list[tuple[bool, int]], rate: int
) -> None:
    """Never above the rate, never standing still, and at the full rate two minutes later."""

    async def main() -> None:
        now = 1_800_000_000 * SECOND
        async with Redis.from_url(server.url) as redis:
            await redis.flushall()
            limiter = RateLimiter(redis, account="abc", rate=rate, burst=1, clock=lambda: now)
            granted: list[int] = []
            for refused, passes in steps:
                answer = await limiter.acquire()
                if isinstance(answer, Granted):
                    granted.append(answer.at)
                    if refused:
                        now += 1
                        assert await limiter.slow(answer) or answer.at < now
                else:
                    assert isinstance(answer, Wait)
                    assert answer.seconds <= 100 / rate + 0.2, "a hundredth is always left"
                now += passes
            assert all(b - a >= SECOND // rate for a, b in pairwise(granted))
            now += 120 * SECOND
            assert isinstance(await limiter.acquire(), Granted)
            assert [key async for key in redis.scan_iter("*pace*")] == []

    asyncio.run(main())


def test_a_clock_that_was_set_back_does_not_hold_the_pace(server: Valkey) -> None:
    async def main() -> None:
        async with _world(server, lambda _at: 50) as world:
            turn = await world.limiter.acquire()
            assert isinstance(turn, Granted)
            world.now += 1
            await world.limiter.slow(turn)
            world.now -= 3600 * SECOND
            told = await world.limiter.acquire()
            assert isinstance(told, Wait)
            assert told.seconds < 0.5

    asyncio.run(main())
