"""What a learned cap brings and what it costs, in simulated time on the limiter's own scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from orchestrator.limits import RateLimiter
from tests.support.slots import Fleet
from tests.support.valkey import Valkey, short_directory, valkey_server

FULL = 50.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with short_directory() as directory, valkey_server(directory) as valkey:
        yield valkey


def fleet(server: Valkey, seconds: float, **of: Any) -> Fleet:
    """One that has worked for so long."""

    async def main() -> Fleet:
        async with Redis.from_url(server.url) as redis:
            await redis.flushall()
            made: list[Fleet] = []
            limiter = RateLimiter(
                redis, account="abc", rate=FULL, burst=10, clock=lambda: made[0].now
            )
            made.append(Fleet(limiter, **of))
            await made[0].work(seconds)
            return made[0]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("slots", "run", "retry_after", "gain"),
    [(20, 5, 1.0, 0.05), (20, 60, 0.0, 0.0)],
)
def test_a_limit_of_tasks_is_used_better_than_by_pace_alone(
    server: Valkey, slots: int, run: float, retry_after: float, gain: float
) -> None:
    of = {"slots": slots, "run": run, "retry_after": retry_after}
    learns, not_ = (fleet(server, 150, learns=learns, **of) for learns in (True, False))
    start = max(30, run)
    used, before = (one.taken_each_second(start, 150) / (slots / run) for one in (learns, not_))
    assert used > 0.85, "one in five ends is seen late"
    assert used >= before + gain
    assert learns.refused(start) < 0.6 * (150 - start)


def test_where_tasks_run_long_refusals_become_rarer(server: Valkey) -> None:
    of = {"slots": 20, "run": 120, "latency": 0.2}
    learns, not_ = (fleet(server, 150, learns=learns, **of) for learns in (True, False))
    assert learns.refused(10) < not_.refused(10) / 2


def test_a_rate_that_falls_and_comes_back_is_followed_as_ever(server: Valkey) -> None:
    def limit(at: float) -> float:
        return 5 if 20 <= at < 80 else 50

    found = fleet(server, 135, run=60, rate=limit, latency=0.2)
    assert found.taken_each_second(5, 20) > 45, "undisturbed, the full rate is used"
    assert found.refused() / len(found.answers) < 0.05
    assert found.taken_each_second(30, 80) > 4, "what the provider still takes is used"
    assert found.taken_each_second(125, 135) >= 45, "90 % of the rate within a minute"


def test_a_rate_below_the_setting_is_used_nearly_whole(server: Valkey) -> None:
    found = fleet(server, 150, run=5, rate=lambda _at: 5, latency=0.2)
    assert found.taken_each_second(30, 150) > 4
    assert found.refused(30) < 0.15 * 5 * 120
