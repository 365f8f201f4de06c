"""How late the ends of tasks are noticed: a histogram that only grows, one for each price class.

Nobody knows when between two polls a task ended. What is counted is the whole time between the poll
that saw it run and the poll that saw it ended: the lateness is at most that, half of it on average.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.domain.sketch import Span

BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800)
"""The upper ends of the bins in seconds; the last bin has none."""
_NONE = (0,) * (len(BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How many tasks fell into each bin, and their sum in milliseconds."""

    counts: tuple[int, ...] = _NONE
    total: int = 0

    def to_json(self) -> str:
        return json.dumps([list(self.counts), self.total], separators=(",", ":"))


def from_json(text: str) -> Lateness:
    """Raises ValueError where the text is none."""
    try:
        counts, total = json.loads(text)
        found = Lateness(tuple(int(count) for count in counts), int(total))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("no lateness") from None
    if len(found.counts) != len(_NONE) or min(*found.counts, found.total) < 0:
        raise ValueError("no lateness")
    return found


def notice(before: Lateness, spans: Iterable[Span]) -> Lateness:
    """What is known with these ends added."""
    counts, total = list(before.counts), before.total
    for span in spans:
        late = max(0, span.high - span.low)
        counts[bisect_left(BOUNDS, late / 1000)] += 1
        total += late
    return Lateness(tuple(counts), total)
