"""One request rate and one gate for every process that uses an account.

The database owns gates; what is kept here is a mirror that is cheap to read before each request.
Losing all of it is harmless: the next answer of the provider closes the gate again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from dataclasses import dataclass
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
    """Send one request now."""


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

    Every method raises ServiceError when the server cannot be asked; then nothing may be sent.
    Raises ValueError for a rate or burst that is not positive.
    """

    def __init__(self, redis: Redis, *, account: str, rate: float | None, burst: int) -> None:
        if burst < 1 or (rate is not None and not (math.isfinite(rate) and rate > 0)):
            raise ValueError(f"rate {rate} and burst {burst} must be positive")
        self._redis = redis
        self._gate = f"orchestrator:{{{account}}}:gate"
        self._rate = f"orchestrator:{{{account}}}:rate"
        # Rounded up: the rate is never passed, at the price of a few millionths of it.
        self._interval = 0 if rate is None else math.ceil(1_000_000 / rate)
        self._burst = burst
        scripts = files("orchestrator.limits")
        self._acquire = redis.register_script(scripts.joinpath("gcra.lua").read_text("utf-8"))
        self._close = redis.register_script(scripts.joinpath("close.lua").read_text("utf-8"))

    async def acquire(self, *, buys: bool = True) -> Granted | Wait | Closed:
        """Leave for one request, in one atomic call.

        One that buys nothing passes a held gate: what was paid for is asked about all the same.
        """
        keys = [self._gate, self._rate]
        arguments = [self._interval, self._burst, "buy" if buys else "ask"]
        answer = await _asked(self._acquire(keys=keys, args=arguments))
        match answer:
            case [b"granted" | "granted"]:
                return Granted()
            case [b"wait" | "wait", int(micros)]:
                return Wait(micros / 1_000_000)
            case [b"closed" | "closed", int(millis), bytes() | str() as gate]:
                kind, _, reason = _text(gate).partition("|")
                return Closed(max(millis, 1) / 1000 if kind == "timed" else None, reason)
            case _:
                raise ServiceError(
                    f"the broker gave an unexpected answer to the rate limit: {answer!r:.100}",
                    mend="Let no other program write to keys that begin with orchestrator:.",
                )

    async def close(self, reason: str, seconds: float | None) -> None:
        """Mirror a closed gate for `seconds`; None until `open`, renewed at least every 5 minutes.

        A gate is never shortened, and one without a known end is not replaced by one with an end.
        """
        kind, length = ("held", HELD_SECONDS) if seconds is None else ("timed", seconds)
        millis = math.ceil(min(max(length, 0.001), _LONGEST) * 1000)
        await _asked(self._close(keys=[self._gate], args=[f"{kind}|{reason}", millis]))

    async def open(self) -> None:
        """Take the mirror away."""
        await _asked(cast("Awaitable[object]", self._redis.delete(self._gate)))


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
