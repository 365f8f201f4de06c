"""What is remembered of a price class's run times: a histogram on a logarithmic scale.

Sketches of the same class add up, fit into one database row, and forget: a sketch never weighs more
than `MEMORY` tasks, so that a provider that changes is believed within a few hundred.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

GROWTH = math.log(1.03)
"""The width of a bin, as the logarithm of the ratio of its ends."""
MEMORY = 300.0
_LEAST = 1e-3
"""Less than this of a task is forgotten."""
_LONGEST = 30 * 24 * 3_600_000
_KEPT_BINS = 400


@dataclass(frozen=True, slots=True)
class Span:
    """A task ended between these two ages, in milliseconds: running at `low`, ended at `high`."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Sketch:
    """Bin -> how many tasks ended in it. Bin `n` begins at `exp(n * GROWTH)` milliseconds."""

    counts: Mapping[int, float] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        return sum(self.counts.values())

    def to_json(self) -> str:
        pairs = sorted(self.counts.items())
        return json.dumps([[bin_, round(count, 4)] for bin_, count in pairs], separators=(",", ":"))


def from_json(text: str) -> Sketch:
    """Raises ValueError where the text is no sketch."""
    try:
        counts = {int(bin_): float(count) for bin_, count in json.loads(text)}
    except (TypeError, ValueError, OverflowError):
        raise ValueError("no sketch") from None
    if not all(0 <= bin_ <= bin_of(_LONGEST) for bin_ in counts):
        raise ValueError("no sketch: a bin is out of range")
    if not all(0 <= count < math.inf for count in counts.values()):
        raise ValueError("no sketch: a count is no count")
    return Sketch(counts)


def bin_of(age: float) -> int:
    return int(math.log(max(1.0, age)) / GROWTH)


def start_of(bin_: int) -> float:
    return math.exp(bin_ * GROWTH)


_STARTS = [start_of(bin_) for bin_ in range(bin_of(_LONGEST) + 2)]


def merge(one: Sketch, other: Sketch) -> Sketch:
    """What both know, neither the older."""
    bins = {*one.counts, *other.counts}
    return _within(Sketch({b: one.counts.get(b, 0.0) + other.counts.get(b, 0.0) for b in bins}), 0)


def learn(before: Sketch, spans: Iterable[Span], density: Callable[[int], float]) -> Sketch:
    """Add what was seen, forgetting as much of the oldest as it takes.

    Nobody knows when within its span a task ended: it is shared out among the span's bins as
    `density` (tasks per bin, of any scale, above zero) has it, which is one step of expectation
    maximisation.
    """
    worth = [max(density(bin_), 1e-12) for bin_ in range(len(_STARTS) - 1)]
    new = [0.0] * len(worth)
    for span in spans:
        first, last, head, tail = _ends(span)
        if first == last:
            new[first] += 1.0
            continue
        head *= worth[first]
        tail *= worth[last]
        each = 1.0 / (head + sum(worth[first + 1 : last]) + tail)
        new[first] += head * each
        new[last] += tail * each
        for bin_ in range(first + 1, last):
            new[bin_] += worth[bin_] * each
    seen = {bin_: count for bin_, count in enumerate(new) if count > 0.0}
    return merge(_within(before, sum(seen.values())), _within(Sketch(seen), 0))


def _ends(span: Span) -> tuple[int, int, float, float]:
    """First and last bin of a span, and how much of each it covers."""
    high = min(max(span.high, 1), _LONGEST)
    low = min(max(span.low, 0), high)
    last = bin_of(high)
    first = max(bin_of(low), last - _KEPT_BINS)
    head = (_STARTS[first + 1] - max(_STARTS[first], low)) / (_STARTS[first + 1] - _STARTS[first])
    tail = (high - _STARTS[last]) / (_STARTS[last + 1] - _STARTS[last])
    return first, last, min(max(head, 1e-6), 1.0), min(max(tail, 1e-6), 1.0)


def _within(sketch: Sketch, room: float) -> Sketch:
    """Scaled down so that `room` more tasks fit into the memory."""
    most = max(MEMORY - room, 0.0)
    weight = sketch.weight
    scale = min(1.0, most / weight) if weight else 1.0
    kept = {bin_: count * scale for bin_, count in sketch.counts.items()}
    return Sketch({bin_: count for bin_, count in kept.items() if count >= _LEAST})
