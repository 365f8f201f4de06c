"""How long to wait before the same thing is tried again."""

from __future__ import annotations

FIRST = 1.0
LONGEST = 300.0


def backoff(tries: int, jitter: float) -> float:
    """Seconds before try number `tries + 1`: exponential with full jitter, at least a quarter.

    `jitter` is a number in [0, 1). The floor keeps a burst of small draws from hammering.
    """
    ceiling = min(LONGEST, FIRST * 2.0 ** min(max(tries, 1), 16))
    return ceiling * (0.25 + 0.75 * jitter)
