"""A provider with a limit of tasks or of requests, and a fleet before it, in simulated time.

The limiter's scripts run on a real server; what is claimed, refused and seen to end is counted as
the database would, and `domain.learned_cap` decides. Times are microseconds, unless told.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.domain import learned_cap
from orchestrator.domain.learned_cap import Refusal
from orchestrator.limits import Closed, Granted, RateLimiter, Wait

SECOND = 1_000_000
ENDLESS = 10**9


@dataclass
class Fleet:
    """Sends as long as it may: once a second and whenever an end is seen, as dispatch does."""

    limiter: RateLimiter
    run: float
    """Seconds that a task takes; they vary by 40 % to each side."""
    slots: int | None = None
    rate: Callable[[float], float] = lambda _at: ENDLESS
    """Requests a second that the provider takes, by the seconds since the start."""
    retry_after: float = 0.0
    learns: bool = True
    latency: float = 0.1
    begin: int = 1_800_000_000 * SECOND
    now: int = field(init=False)
    answers: list[tuple[float, bool]] = field(default_factory=list)
    """When each came, in seconds from the start, and whether it was 429."""

    def __post_init__(self) -> None:
        self.now = self.begin
        self._chance = random.Random(1)
        self._on_way: list[tuple[int, int, bool, bool]] = []
        self._running: list[int] = []
        self._unseen: list[tuple[int, int]] = []
        self._known: Refusal | None = None
        self._gate = self._next_tick = self.now
        self._tokens, self._refilled = self.rate(0), self.now
        self._may_send = 0

    @property
    def at(self) -> float:
        return (self.now - self.begin) / SECOND

    async def work(self, seconds: float) -> None:
        while self.at < seconds:
            await self._hear()
            if self._may_send <= 0 or self.now < self._gate:
                self._pass(self._next_tick)
                continue
            match await self.limiter.acquire():
                case Granted(granted):
                    self._send(granted)
                case Wait(wait):
                    self._pass(self.now + round(wait * SECOND))
                case Closed():
                    raise AssertionError

    def _pass(self, until: int) -> None:
        """Until then, or until something is heard."""
        news = [known[0][0] for known in (self._on_way, self._unseen) if known]
        self.now = max(self.now + 1, min([until, *news]))

    async def _hear(self) -> None:
        """Answers and ends that have come, and the tick."""
        freed = self.now >= self._next_tick
        while self._on_way and self._on_way[0][0] <= self.now:
            _, granted, refused, full = heapq.heappop(self._on_way)
            self.answers.append((self.at, refused))
            if refused:
                await self._heed(granted, full=full)
        while self._unseen and self._unseen[0][0] <= self.now:
            heapq.heappop(self._unseen)
            freed = True
        if freed:
            self._next_tick = self.now + SECOND
            self._may_send = self._room() if self.now >= self._gate else 0

    def _room(self) -> int:
        cap = None
        if self.learns and self._known is not None:
            cap = learned_cap.cap(self._known, self.now // 1000)
        return ENDLESS if cap is None else cap - self._taken() - len(self._on_way)

    def _taken(self) -> int:
        """In flight by our count, without what is on its way."""
        return len(self._unseen) - sum(not refused for _, _, refused, _ in self._on_way)

    async def _heed(self, granted: int, *, full: bool) -> None:
        if not full:
            await self.limiter.slow(Granted(granted))
        self._gate = max(self._gate, self.now + round(self.retry_after * SECOND))
        ages = [self.now - sent for _, sent in self._unseen]
        age = sum(ages) // len(ages) // 1000 if ages else 0
        number, now = self._taken(), self.now // 1000
        self._known = learned_cap.note(self._known, number=number, age=age, now=now)
        self._may_send = min(self._may_send, self._room())

    def _send(self, granted: int) -> None:
        self._may_send -= 1
        running = self._taken() + len(self._on_way) + 1
        full = self._known is not None and self.learns
        full = full and learned_cap.explains(self._known, running, self.now // 1000)
        refused = self._refuses()
        if not refused:
            run = self.run * self._chance.uniform(0.6, 1.4)
            late = self.run * self._chance.uniform(0, 0.2)
            heapq.heappush(self._running, self.now + round(run * SECOND))
            heapq.heappush(self._unseen, (self.now + round((run + late) * SECOND), self.now))
        arrives = self.now + round(self.latency * SECOND)
        heapq.heappush(self._on_way, (arrives, granted, refused, full))

    def _refuses(self) -> bool:
        rate = self.rate(self.at)
        refill = (self.now - self._refilled) / SECOND * rate
        self._tokens, self._refilled = min(max(rate, 1), self._tokens + refill), self.now
        while self._running and self._running[0] <= self.now:
            heapq.heappop(self._running)
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return self.slots is not None and len(self._running) >= self.slots

    def taken_each_second(self, start: float, end: float) -> float:
        return sum(start <= at < end and not bad for at, bad in self.answers) / (end - start)

    def refused(self, start: float = 0) -> int:
        return sum(bad for at, bad in self.answers if at >= start)
