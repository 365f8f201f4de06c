"""One request rate, its pace after refusals, and one gate for every process of an account.

The database owns gates; what is kept here is a mirror that is cheap to read before each request.
Losing all of it is harmless: the next answer of the provider closes the gate again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestrator.errors import ServiceError

HELD_SECONDS = 300.0
"""How long the mirror of a gate without a known end lasts, unless it is closed again."""
_LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Granted:
    """Send so many requests now. `at` is the limiter's own time stamp, for `slow`."""

    at: int = field(default=0, compare=False)
    count: int = 1


@dataclass(frozen=True, slots=True)
class Wait:
    """Over the rate: ask again in `seconds` (exact by the server's clock; nothing is reserved)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Closed:
    """Send nothing. `seconds` until the gate opens by itself; None: somebody has to open it."""

    seconds: float | None
    reason: str


class RateLimiter:
    """`account` is the API key's fingerprint; `rate` is requests per second, None for no limit.

    `clock` gives microseconds and stands in for the server's own clock.

    Every method raises ServiceError when the server cannot be asked; then nothing may be sent.
    Raises ValueError for a rate or burst that is not positive.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        account: str,
        rate: float | None,
        burst: int,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if burst < 1 or (rate is not None and not (math.isfinite(rate) and rate > 0)):
            raise ValueError(f"rate {rate} and burst {burst} must be positive")
        self._redis = redis
        self._gate = f"orchestrator:{{{account}}}:gate"
        self._rate = f"orchestrator:{{{account}}}:rate"
        # Submits and polls may have limits of their own at the provider: each kind has its pace.
        self._paces = {buys: f"{self._rate[:-4]}pace:{_kind(buys=buys)}" for buys in (True, False)}
        # Rounded up: the rate is never passed, at the price of a few millionths of it.
        self._interval = 0 if rate is None else math.ceil(1_000_000 / rate)
        self._burst = burst
        self._clock = clock
        self._acquire = redis.register_script(_script("pace.lua", "gcra.lua"))
        self._slow = redis.register_script(_script("pace.lua", "slow.lua"))
        self._close = redis.register_script(_script("close.lua"))

    async def acquire(self, *, buys: bool = True, most: int = 1) -> Granted | Wait | Closed:
        """Leave for one request, or for up to `most` that are ready to be sent, in one atomic call.

        Those that buy nothing pass a gate that is held, or closed for purchases alone: what was
        paid for is asked about all the same.
        """
        keys = [self._gate, self._rate, self._paces[buys]]
        arguments: list[str | int] = [self._interval, self._burst, _kind(buys=buys), self._now()]
        arguments.append(most)
        answer = await _asked(self._acquire(keys=keys, args=arguments))
        match answer:
            case [b"granted" | "granted", int(at), int(count)]:
                return Granted(at, count)
            case [b"wait" | "wait", int(micros)]:
                return Wait(micros / 1_000_000)
            case [b"closed" | "closed", int(millis), bytes() | str() as gate]:
                kind, _, reason = _text(gate).partition("|")
                return Closed(None if kind == "held" else max(millis, 1) / 1000, reason)
            case _:
                raise ServiceError(
                    f"the broker gave an unexpected answer to the rate limit: {answer!r:.100}",
                    mend="Let no other program write to keys that begin with orchestrator:.",
                )

    async def slow(self, granted: Granted, *, buys: bool = True) -> bool:
        """The provider refused what was granted as one too many: send that kind more slowly.

        The pace comes back by itself. True where it was cut; False for a request that was sent
        before the last cut, and without a rate.
        """
        if self._interval == 0:
            return False
        arguments: list[str | int] = [self._interval, granted.at, self._now()]
        return bool(await _asked(self._slow(keys=[self._paces[buys]], args=arguments)))

    async def close(self, reason: str, seconds: float | None, *, asks: bool = True) -> None:
        """Mirror a closed gate for `seconds`; None until `open`, renewed at least every 5 minutes.

        One that is closed for `seconds` stops what buys nothing too, unless `asks` is False.

        A gate is never shortened, and one without a known end is not replaced by one with an end.
        """
        timed = "timed" if asks else "buys"
        kind, length = ("held", HELD_SECONDS) if seconds is None else (timed, seconds)
        millis = math.ceil(min(max(length, 0.001), _LONGEST) * 1000)
        await _asked(self._close(keys=[self._gate], args=[f"{kind}|{reason}", millis]))

    async def open(self) -> None:
        """Take the mirror away."""
        await _asked(cast("Awaitable[object]", self._redis.delete(self._gate)))

    def _now(self) -> str | int:
        return "" if self._clock is None else self._clock()


def _kind(*, buys: bool) -> str:
    return "buy" if buys else "ask"


def _script(*names: str) -> str:
    folder = files("orchestrator.limits")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)


async def _asked(call: Awaitable[object]) -> object:
    try:
        return await call
    except (RedisError, OSError) as error:
        raise ServiceError(
            f"the broker that holds the request rate cannot be asked: {error}",
            mend="Start the broker, or mend ORCHESTRATOR_BROKER_URL; sending goes on by itself.",
        ) from error


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
