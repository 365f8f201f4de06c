"""When to ask again how a task is doing. Milliseconds.

With enough run times of its price class known, a task is asked about when a plan says so: the plan
weighs each poll against the lateness that it saves (docs/polling.md). Otherwise, and past the
plan's end, the wait is a quarter of the age.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from orchestrator.domain.sketch import GROWTH, Sketch, start_of

SHORTEST = 1_500
LONGEST = 60_000
SPARSE = 300_000
"""For tasks that are overdue or that the provider does not find."""
WORTH = 0.01
"""The trade: one poll is worth this part of the usual run time in lateness."""
ENOUGH = 8.0
"""With fewer tasks known than this nothing is planned."""
_SHARE = 0.25
_SPREAD = 0.01
"""Planned waits are spread by this part to each side."""
_BROAD = 1.0
"""The width of what is thought possible beside what was seen, in powers of e."""
_BELIEF = 0.7
"""How many tasks that thought weighs."""
_POINTS = 320
_TAIL = 1e-3
"""The share of tasks at either end that no plan is refined for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`asks[n]` is the age at the poll that follows one at the age `ages[n]`; ages rise from 0."""

    ages: Sequence[int]
    asks: Sequence[int]

    def to_json(self) -> str:
        return json.dumps([list(self.ages), list(self.asks)], separators=(",", ":"))


def plan_from_json(text: str) -> Plan | None:
    """The plan, None for "nothing is planned". Raises ValueError where it is neither."""
    try:
        value = json.loads(text)
        if value is None:
            return None
        ages, asks = ([int(age) for age in side] for side in value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("no plan") from None
    if not ages or len(ages) != len(asks) or ages[0] != 0 or ages != sorted(ages):
        raise ValueError("no plan")
    return Plan(ages, asks)


def next_poll(age: int, jitter: float, plan: Plan | None = None) -> int:
    """Milliseconds until the next poll of a task that has run for `age`.

    `jitter` is a number in [0, 1). Without a plan a quarter of the age, so that the news is never
    later than a quarter of the run time, between bounds, spread by a tenth to each side.
    """
    if plan is not None and 0 <= age < plan.ages[-1]:
        ask = plan.asks[bisect_right(plan.ages, age) - 1]
        spread = 1 - _SPREAD + 2 * _SPREAD * jitter
        return max(SHORTEST, min(round((ask - age) * spread), SPARSE))
    interval = min(max(age * _SHARE, SHORTEST), LONGEST)
    return round(interval * (0.9 + 0.2 * jitter))


def make_plan(sketch: Sketch, worth: float = WORTH) -> Plan | None:
    """The cheapest times to ask for tasks that run like these; None where too few are known.

    `worth`: the part of the median run time that a task may be noticed later to save one poll.
    """
    if sketch.weight < ENOUGH:
        return None
    chances = density(sketch)
    first, last = min(chances), max(chances)
    ends = [start_of(bin_ + 1) for bin_ in range(first, last + 1)]
    total = sum(chances.values())
    known = [sum_ / total for sum_ in accumulate(chances[b] for b in range(first, last + 1))]
    edges, shares = [start_of(first), *ends], [0.0, *known]
    middle = next(edge for edge, share in zip(edges, shares, strict=True) if share >= 0.5)

    def ended(age: float) -> float:
        return _between(edges, shares, age)

    low = next(edge for edge, share in zip(edges, shares, strict=True) if share >= _TAIL)
    high = 2 * next(edge for edge, share in zip(edges, shares, strict=True) if share >= 1 - _TAIL)
    return best_plan(
        ended, low=max(low, SHORTEST), high=max(high, 4 * SHORTEST), late=worth * middle
    )


def best_plan(
    ended: Callable[[float], float], *, low: float, high: float, late: float, points: int = _POINTS
) -> Plan:
    """The optimum by dynamic programming, for run times of which `ended(age)` is the share ended.

    `late`: how many milliseconds of lateness one poll is worth. Polls fall on `points` ages between
    `low` and `high`; after `high` what is left is asked about as without a plan.
    """
    step = math.log(high / low) / (points - 1)
    ages = [0.0, *(low * math.exp(n * step) for n in range(points))]
    shares = [ended(age) for age in ages]
    shares[0] = 0.0
    areas = [0.0]
    for n in range(1, len(ages)):
        width = ages[n] - ages[n - 1]
        areas.append(areas[-1] + width * (shares[n] + shares[n - 1]) / 2)
    count = len(ages)
    # cost[n] counts only the tasks that still run at ages[n]; what is left at the end costs a
    # little, as its polls are far apart.
    cost = [0.0] * count
    left = 1 - shares[-1]
    cost[-1] = left * (1 / _SHARE)
    follows = [*range(1, count), count - 1]
    for n in range(count - 2, -1, -1):
        running, begin, area = 1 - shares[n], ages[n], areas[n]
        best, choice = math.inf, n + 1
        for later in range(n + 1, count):
            width = ages[later] - begin
            if width < SHORTEST and later < count - 1:
                continue
            lateness = (areas[later] - area - shares[n] * width) / late
            if running + lateness >= best or (width > SPARSE and best < math.inf):
                break
            whole = running + lateness + cost[later]
            if whole < best:
                best, choice = whole, later
        cost[n], follows[n] = best, choice
    rounded = [round(age) for age in ages]
    return Plan(rounded, [rounded[n] for n in follows])


def _between(edges: Sequence[float], shares: Sequence[float], age: float) -> float:
    n = bisect_right(edges, age)
    if n == 0:
        return 0.0
    if n == len(edges):
        return 1.0
    part = (age - edges[n - 1]) / (edges[n] - edges[n - 1])
    return shares[n - 1] + part * (shares[n] - shares[n - 1])


def density(sketch: Sketch) -> dict[int, float]:
    """Tasks per bin, smoothed, with a broad belief beside it for what was never seen."""
    if not sketch.counts:
        return {}
    weight = sketch.weight
    mean = sum(bin_ * count for bin_, count in sketch.counts.items()) / weight
    smooth = _smoothed(sketch)
    broad = _BROAD / GROWTH
    first = max(0, round(min(*smooth, mean - 2.5 * broad)))
    last = round(max(*smooth, mean + 2.5 * broad))
    bell = {bin_: math.exp(-(((bin_ - mean) / broad) ** 2) / 2) for bin_ in range(first, last + 1)}
    scale = _BELIEF / sum(bell.values())
    return {bin_: smooth.get(bin_, 0.0) + scale * bell[bin_] for bin_ in bell}


def _smoothed(sketch: Sketch) -> dict[int, float]:
    """A kernel estimate on the logarithmic scale, of the width that foretells the tasks best."""
    width = max(_silverman(sketch), 0.5)
    tries = [_blurred(sketch, width * part) for part in (1.0, 0.7, 0.5, 0.35, 0.25)]
    return max(tries, key=lambda pair: pair[1])[0]


def _silverman(sketch: Sketch) -> float:
    weight = sketch.weight
    mean = sum(bin_ * count for bin_, count in sketch.counts.items()) / weight
    spread = sum(count * (bin_ - mean) ** 2 for bin_, count in sketch.counts.items()) / weight
    return 1.06 * math.sqrt(spread) * math.exp(-0.2 * math.log(weight))


def _blurred(sketch: Sketch, width: float) -> tuple[dict[int, float], float]:
    """The tasks blurred by a bell, and how likely that makes each one given the others."""
    reach = math.ceil(3 * width)
    bell = [math.exp(-((offset / width) ** 2) / 2) for offset in range(reach + 1)]
    whole = bell[0] + 2 * sum(bell[1:])
    bell = [part / whole for part in bell]
    blurred: dict[int, float] = {}
    for bin_, count in sketch.counts.items():
        for offset in range(-reach, reach + 1):
            place = bin_ + offset
            if place >= 0:
                blurred[place] = blurred.get(place, 0.0) + count * bell[abs(offset)]
    likely = sum(
        count * math.log(max(blurred[bin_] - bell[0] * min(count, 1.0), 1e-9))
        for bin_, count in sketch.counts.items()
    )
    return blurred, likely


def prior_density(sketch: Sketch) -> Callable[[int], float]:
    """How `sketch.learn` shares out a span: as known so far, evenly in time where nothing is."""
    known = density(sketch) if sketch.weight >= ENOUGH else {}
    floor = min(known.values(), default=0.0) or 1e-9
    return lambda bin_: known.get(bin_, floor) if known else start_of(bin_)
