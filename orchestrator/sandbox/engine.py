"""What becomes of a task, as a pure function of a seed: no clock, no state."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist


class Status(StrEnum):
    """The API document's five words."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How this sandbox behaves. Times in seconds of sandbox time; `speed` makes them shorter."""

    seed: int = 0
    speed: float = 1.0
    queue: float = 0.5
    median: float = 8.0
    spread: float = 0.3
    """Sigma of the lognormal run times; 0 makes them all equal."""
    slots: int | None = None
    failure_rate: float = 0.0
    cancel_rate: float = 0.0
    charge_failures: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What will become of a task: seconds in the queue, seconds running, and how it ends."""

    queue: float
    run: float
    end: Status


def draw(seed: int, *parts: object) -> float:
    """A number in [0, 1) that only these values decide."""
    text = "\0".join(map(str, (seed, *parts)))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def fate(behaviour: Behaviour, name: str) -> Fate:
    """The fate of the task called `name`: its idempotency key, or its number without one."""
    seed = behaviour.seed
    chance = draw(seed, "end", name)
    if chance < behaviour.failure_rate:
        end = Status.FAILED
    elif chance < behaviour.failure_rate + behaviour.cancel_rate:
        end = Status.CANCELLED
    else:
        end = Status.SUCCEEDED
    quantile = min(max(draw(seed, "run", name), 1e-6), 1 - 1e-6)
    run = behaviour.median * math.exp(behaviour.spread * NormalDist().inv_cdf(quantile))
    return Fate(behaviour.queue / behaviour.speed, run / behaviour.speed, end)


def status_at(now: float, starts_at: float, ends_at: float, end: Status) -> Status:
    if now < starts_at:
        return Status.QUEUED
    return Status.PROCESSING if now < ends_at else end
