"""Polls against lateness: what the plans need, beside the best fixed interval and the optimum.

Pure and repeatable: the clock is a number and the provider a distribution. Times in milliseconds.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist, fmean

from orchestrator.domain import cadence, sketch
from orchestrator.domain.cadence import Plan
from orchestrator.domain.sketch import Sketch, Span
from tests.benchmarks.curves import Curve, Panel, draw

SEEN = 200
AT_A_TIME = 10
"""How many tasks end between two looks at the sketch."""
SEEDS = range(6)
DRIFT_TASKS = 3000
PICTURE = Path(__file__).parents[2] / "docs" / "polling.svg"
TRADES = (0.003, 0.006, 0.01, 0.02, 0.04)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class RunTimes:
    """A mixture of lognormal run times: (share, median, sigma) each."""

    name: str
    parts: Sequence[tuple[float, float, float]]

    def ended(self, age: float) -> float:
        if age <= 0:
            return 0.0
        return sum(
            share * _NORMAL.cdf(math.log(age / median) / sigma)
            for share, median, sigma in self.parts
        )

    def draw(self, chance: random.Random) -> float:
        part = chance.choices(self.parts, [share for share, _, _ in self.parts])[0]
        return part[1] * math.exp(part[2] * chance.gauss(0, 1))

    def even(self, number: int) -> list[float]:
        """Run times that stand for the distribution: its quantiles, evenly."""
        low = min(m * math.exp(-5 * s) for _, m, s in self.parts)
        high = max(m * math.exp(5 * s) for _, m, s in self.parts)
        ages = [low * (high / low) ** (n / 4000) for n in range(4001)]
        shares = [self.ended(age) for age in ages]
        return [ages[bisect_left(shares, (n + 0.5) / number)] for n in range(number)]


STATIONARY = (
    RunTimes("lognormal, sigma 0.3", [(1.0, 60_000, 0.3)]),
    RunTimes("lognormal, sigma 0.8", [(1.0, 60_000, 0.8)]),
    RunTimes("bimodal", [(0.6, 40_000, 0.15), (0.4, 160_000, 0.15)]),
)

Wait = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Point:
    """Polls per task, and how late its end is noticed, on average."""

    polls: float
    lag: float


def ask(run_time: float, wait: Wait) -> tuple[int, Span]:
    """One task's life: how many polls, and between which ages its end fell."""
    age, polls = 0, 0
    while True:
        low, age, polls = age, age + wait(age), polls + 1
        if age >= run_time:
            return polls, Span(low, age)


def measure(run_times: Sequence[float], wait: Wait) -> Point:
    asked = [(time, *ask(time, wait)) for time in run_times]
    return Point(
        fmean(polls for _, polls, _ in asked), fmean(span.high - time for time, _, span in asked)
    )


def planned(plan: Plan | None, chance: random.Random) -> Wait:
    return lambda age: cadence.next_poll(age, chance.random(), plan)


def trained(times: RunTimes, trade: float, seed: int) -> Plan | None:
    """The plan after `SEEN` tasks, each asked about by the plan of its day, from a cold start."""
    chance = random.Random(seed)
    known, plan = Sketch(), None
    for _ in range(SEEN // AT_A_TIME):
        wait = planned(plan, chance)
        spans = [ask(times.draw(chance), wait)[1] for _ in range(AT_A_TIME)]
        known = sketch.learn(known, spans, cadence.prior_density(known))
        plan = cadence.make_plan(known, trade)
    return plan


def learned(times: RunTimes, trade: float) -> Point:
    even = times.even(600)
    points = [
        measure(even, planned(trained(times, trade, seed), random.Random(seed))) for seed in SEEDS
    ]
    return Point(fmean(p.polls for p in points), fmean(p.lag for p in points))


def fixed(run_times: Sequence[float], interval: int) -> Point:
    return measure(run_times, lambda _: interval)


def fixed_curve(run_times: Sequence[float]) -> list[Point]:
    return [fixed(run_times, round(1600 * 1.2**n)) for n in range(19)]


def optimum_curve(times: RunTimes) -> list[Point]:
    """The best that anybody can do who knows the distribution, for many trades."""
    even = times.even(1500)
    low, high = even[0] * 0.7, even[-1] * 1.5
    points = []
    for n in range(16):
        late = 60_000 * 0.0012 * 1.4**n
        plan = cadence.best_plan(times.ended, low=low, high=high, late=late, points=400)
        wait = exact(plan)
        points.append(measure(even, wait))
    return points


def exact(plan: Plan) -> Wait:
    steps = dict(zip(plan.ages, plan.asks, strict=True))
    return lambda age: steps[age] - age if age in steps and steps[age] > age else 60_000


def at_lag(curve: Sequence[Point], lag: float) -> float:
    """Polls where the curve has this lag, on its lower side, between two of its points."""
    ordered = sorted(curve, key=lambda point: point.lag)
    for one, other in pairwise(ordered):
        if one.lag <= lag <= other.lag:
            part = math.log(lag / one.lag) / math.log(other.lag / one.lag)
            return one.polls * math.exp(part * math.log(other.polls / one.polls))
    raise ValueError(f"no point of the curve is near {lag:.0f} ms")


def drifting(number: int, seed: int) -> list[float]:
    """Run times that triple slowly, fall back at once, and double at once."""
    chance = random.Random(seed)
    times = []
    for n in range(number):
        part = n / number
        scale = 1 + 4 * part if part < 0.5 else 1.0 if part < 0.75 else 2.0
        times.append(40_000 * scale * math.exp(0.3 * chance.gauss(0, 1)))
    return times


def drift(trade: float, seed: int, number: int = DRIFT_TASKS) -> tuple[Point, list[float]]:
    """Learning all the while: what was needed after the first `SEEN`, and those run times."""
    chance = random.Random(seed)
    times = drifting(number, seed)
    known, plan = Sketch(), None
    polls, lags = [], []
    for begin in range(0, number, AT_A_TIME):
        wait = planned(plan, chance)
        group = times[begin : begin + AT_A_TIME]
        asked = [ask(time, wait) for time in group]
        if begin >= SEEN:
            polls += [count for count, _ in asked]
            lags += [span.high - time for time, (_, span) in zip(group, asked, strict=True)]
        known = sketch.learn(known, [s for _, s in asked], cadence.prior_density(known))
        plan = cadence.make_plan(known, trade)
    return Point(fmean(polls), fmean(lags)), times[SEEN:]


@dataclass(frozen=True, slots=True)
class Found:
    """One trace: the curves, and ours beside what each of them needs at the same lag."""

    name: str
    ours: list[Point]
    flat: list[Point]
    best: list[Point]
    """Empty where no optimum can be known."""
    quarter: Point

    def beside_fixed(self, point: Point) -> float:
        return point.polls / at_lag(self.flat, point.lag)

    def beside_optimum(self, point: Point) -> float | None:
        return point.polls / at_lag(self.best, point.lag) if self.best else None


def stationary(times: RunTimes, trades: Sequence[float] = TRADES) -> Found:
    even = times.even(1000)
    return Found(
        times.name,
        [learned(times, trade) for trade in trades],
        fixed_curve(even),
        optimum_curve(times),
        measure(even, planned(None, random.Random(1))),
    )


def drifted(trades: Sequence[float] = TRADES) -> Found:
    run_times = drifting(DRIFT_TASKS, 1)[SEEN:]
    return Found(
        "drifting, sigma 0.3",
        [drift(trade, 1)[0] for trade in trades],
        fixed_curve(run_times),
        [],
        measure(run_times, planned(None, random.Random(1))),
    )


def panel(found: Found) -> Panel:
    def curve(name: str, points: Sequence[Point], *, dots: bool = False) -> Curve:
        return Curve(name, [(point.lag / 1000, point.polls) for point in points], dots)

    curves = [curve("best fixed interval", found.flat)]
    if found.best:
        curves.append(curve("optimum, distribution known", found.best))
    curves.append(curve("learned from 200 tasks", found.ours, dots=True))
    curves.append(curve("a quarter of the age", [found.quarter], dots=True))
    return Panel(found.name, curves)


def report() -> None:
    """The table, and the curves drawn into docs/."""
    traces = [*(stationary(times) for times in STATIONARY), drifted()]
    print("polling: polls per task at equal mean lag")
    print(f"{'run times':<22}{'trade':>7}{'lag s':>8}{'polls':>8}{'/ optimum':>11}{'/ fixed':>9}")
    for found in traces:
        for trade, point in zip(TRADES, found.ours, strict=True):
            optimum = found.beside_optimum(point)
            print(
                f"{found.name:<22}{trade:>7}{point.lag / 1000:>8.2f}{point.polls:>8.2f}"
                f"{f'{optimum:.3f}' if optimum else '-':>11}{found.beside_fixed(point):>9.3f}"
            )
        old = found.quarter
        optimum = found.beside_optimum(old)
        print(
            f"{found.name:<22}{'age/4':>7}{old.lag / 1000:>8.2f}{old.polls:>8.2f}"
            f"{f'{optimum:.3f}' if optimum else '-':>11}{found.beside_fixed(old):>9.3f}"
        )
    PICTURE.write_text(draw([panel(found) for found in traces]), encoding="utf-8")


if __name__ == "__main__":
    report()
