"""How many tasks of a model the provider lets be unfinished, learned from its refusals. Pure.

A 429 does not say whether requests came too fast or too many tasks are unfinished. Where two
refusals, some seconds apart, came at about the same number in flight, it is probably that number
that was refused: no more are sent for a while than were in flight at the later one. Then more are
tried, a little at first and soon much, since the limit may have gone, and since a task that has
ended unseen still counts here, though not at the provider.

Where it was the rate after all, the number in flight rises or falls between two refusals until it
is what that rate makes it, and then such a cap takes little away.

Times are milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TOGETHER = 3_000
"""Refusals within this of the first say the same once."""
SHORTEST, LONGEST = 3_000, 12_000
"""Bounds of how long a cap is held without a further refusal."""
GROWTH = 5_000
"""So long after that it has doubled; twice as long after, it is nine times what it was."""
FORGET = 60_000
"""A refusal this old says nothing any more."""
_FEWER, _MORE, _NEARLY = 0.75, 0.4, 0.25
"""How far a number may lie from another that means the same, in roots of it, beside one task."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The provider refused one more while `number` were in flight by our count."""

    at: int
    number: int
    hold: int = 0
    """For how long no more than that are sent; 0 where the reason may be another."""


def note(known: Refusal | None, *, number: int, age: int, now: int) -> Refusal:
    """What to remember when more were refused; `age` is the mean age of those in flight."""
    if known is None or not 0 <= now - known.at < FORGET:
        return Refusal(now, number)
    if now - known.at < TOGETHER:
        # Until there is a cap, what the provider took just before may be on record only now.
        meant = min(max(1, number), known.number) if known.hold else max(number, known.number)
        return Refusal(known.at, meant, known.hold)
    if number >= 1 and _alike(known.number, number):
        # The longer tasks run, the less a further try tells: by then about half have ended.
        hold = min(max(2 * known.hold, SHORTEST), max(age, SHORTEST), LONGEST)
    else:
        # With a cap it was a further try that found more room, or less: so the cap is another.
        hold = SHORTEST if known.hold and number >= 1 else 0
    return Refusal(now, number, hold)


def cap(known: Refusal, now: int) -> int | None:
    """How many may be in flight; None for any number."""
    if known.hold == 0 or not 0 <= now - known.at < FORGET:
        return None
    grown = max(0, now - known.at - known.hold) / GROWTH
    return int(known.number * (1 + grown**3))


def explains(known: Refusal, running: int, now: int) -> bool:
    """Whether a request that makes it so many in flight, if refused, was not sent too fast."""
    nearly = known.number - 1 - _NEARLY * math.sqrt(known.number)
    return cap(known, now) is not None and running >= nearly


def _alike(before: int, number: int) -> bool:
    """Whether chance may make one of the other; a number that rises rather speaks of a rate."""
    root = math.sqrt(before)
    return -1 - _FEWER * root <= number - before <= 1 + _MORE * root
