"""When to ask again how a task is doing. Milliseconds."""

from __future__ import annotations

SHORTEST = 1_500
LONGEST = 60_000
SPARSE = 300_000
"""For tasks that are overdue or that the provider does not find."""
_SHARE = 0.25


def next_poll(age: int, jitter: float) -> int:
    """Milliseconds until the next poll of a task that has run for `age`.

    A quarter of the age, so that the news is never later than a quarter of the run time, between
    bounds, spread by a tenth to each side. `jitter` is a number in [0, 1).
    """
    interval = min(max(age * _SHARE, SHORTEST), LONGEST)
    return round(interval * (0.9 + 0.2 * jitter))
