"""When tasks are asked about: the sketch, the plan, and what they cost beside the optimum."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain import cadence, sketch
from orchestrator.domain.cadence import Plan, make_plan, next_poll, plan_from_json
from orchestrator.domain.sketch import MEMORY, Sketch, Span
from orchestrator.domain.states import State
from orchestrator.domain.submission import Submission, span_of
from tests.benchmarks import cadence as bench

AGES = st.integers(0, 30 * 86_400_000)
SPANS = st.lists(st.tuples(AGES, AGES).map(lambda ends: Span(min(ends), max(ends))), max_size=40)


def learned(spans: list[Span], before: Sketch | None = None) -> Sketch:
    known = before or Sketch()
    return sketch.learn(known, spans, cadence.prior_density(known))


def exactly(median: int, number: int, sigma: float = 0.3) -> list[Span]:
    chance = random.Random(number)
    times = [round(median * 2.718 ** (sigma * chance.gauss(0, 1))) for _ in range(number)]
    return [Span(time, time) for time in times]


def half(known: Sketch) -> float:
    """The sketch's median, in milliseconds."""
    below = 0.0
    for bin_, count in sorted(known.counts.items()):
        below += count
        if below >= known.weight / 2:
            return sketch.start_of(bin_)
    raise AssertionError("an empty sketch")


@given(SPANS)
def test_every_task_counts_once(spans: list[Span]) -> None:
    assert learned(spans).weight == pytest.approx(len(spans), abs=0.5)


@given(SPANS, SPANS)
def test_sketches_add_up_in_any_order(one: list[Span], other: list[Span]) -> None:
    a, b = learned(one), learned(other)
    assert sketch.merge(a, b).counts == pytest.approx(sketch.merge(b, a).counts)
    assert sketch.merge(a, b).weight == pytest.approx(a.weight + b.weight, abs=0.5)


@given(SPANS)
def test_a_sketch_survives_its_json(spans: list[Span]) -> None:
    known = learned(spans)
    again = sketch.from_json(known.to_json())
    assert again.counts == pytest.approx(known.counts, abs=1e-4)


@pytest.mark.parametrize("text", ["", "{", "1", "[1]", "[[1,-1]]", "[[-4,1]]", "[[1,NaN]]"])
def test_what_is_no_sketch(text: str) -> None:
    with pytest.raises(ValueError, match="no sketch"):
        sketch.from_json(text)


@pytest.mark.parametrize("text", ["", "1", "[1]", "[[],[]]", "[[0,1],[1]]", "[[5],[6]]"])
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(ValueError, match="no plan"):
        plan_from_json(text)


def test_old_tasks_are_forgotten() -> None:
    known = learned(exactly(40_000, 1000))
    assert known.weight <= MEMORY
    known = learned(exactly(160_000, int(MEMORY)), known)
    assert half(known) == pytest.approx(160_000, rel=0.15)


def test_few_tasks_make_no_plan() -> None:
    assert make_plan(learned(exactly(60_000, int(cadence.ENOUGH) - 1))) is None
    assert next_poll(40_000, 0.5, None) == 10_000


def test_the_first_poll_waits_for_the_first_that_may_have_ended() -> None:
    plan = make_plan(learned(exactly(60_000, 200)))
    assert plan is not None
    assert 0.4 * 60_000 < next_poll(0, 0.5, plan) < 0.9 * 60_000


@settings(max_examples=25)
@given(SPANS, AGES, st.floats(0, 1, exclude_max=True), st.floats(0.0001, 1))
def test_a_planned_wait_is_never_short_nor_endless(
    spans: list[Span], age: int, jitter: float, worth: float
) -> None:
    plan = make_plan(learned([*spans, *exactly(60_000, 8)]), worth)
    assert plan is not None
    assert plan_from_json(plan.to_json()) == plan
    assert cadence.SHORTEST * 0.9 <= next_poll(age, jitter, plan) <= cadence.SPARSE


def test_an_overdue_task_is_asked_about_ever_more_seldom() -> None:
    plan = make_plan(learned(exactly(60_000, 200)))
    assert next_poll(3_600_000, 0.5, plan) == cadence.LONGEST


def test_a_dearer_poll_is_asked_for_less_often() -> None:
    known = learned(exactly(60_000, 200))
    polls = [
        bench.measure([60_000.0], bench.planned(make_plan(known, worth), random.Random(1))).polls
        for worth in (0.002, 0.05)
    ]
    assert polls[0] > polls[1]


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        (
            Submission(State.PROCESSING, accepted_at=1_000, seen_at=5_000),
            Submission(State.SUCCEEDED, finished_at=9_000),
            Span(4_000, 8_000),
        ),
        (
            Submission(State.QUEUED, accepted_at=1_000),
            Submission(State.FAILED, finished_at=9_000),
            Span(0, 8_000),
        ),
        (
            Submission(State.PROCESSING, accepted_at=1_000, seen_at=5_000),
            Submission(State.SUCCEEDED, finished_at=3_000),
            Span(4_000, 4_000),
        ),
        (Submission(State.SUBMITTING), Submission(State.SUCCEEDED, finished_at=9_000), None),
        (Submission(State.QUEUED, accepted_at=1_000), Submission(State.PROCESSING), None),
    ],
    ids=["seen-running", "never-seen", "clock-went-back", "ended-at-once", "still-runs"],
)
def test_what_an_end_says_of_the_run_time(
    before: Submission, after: Submission, span: Span | None
) -> None:
    assert span_of(before, after) == span


@pytest.mark.parametrize("times", bench.STATIONARY, ids=lambda times: times.name)
def test_after_200_tasks_it_polls_nearly_as_little_as_the_optimum(times: bench.RunTimes) -> None:
    found = bench.stationary(times, [cadence.WORTH])
    (ours,) = found.ours
    beside = found.beside_optimum(ours)
    assert beside is not None
    assert beside <= 1.10
    assert found.beside_fixed(ours) <= 1.02


def test_while_run_times_drift_it_polls_no_more_than_the_best_fixed_interval() -> None:
    found = bench.drifted([cadence.WORTH])
    assert found.beside_fixed(found.ours[0]) <= 1.02


def test_the_reference_is_no_straw_man() -> None:
    """With the distribution known, planning beats every fixed interval at every lag."""
    times = bench.STATIONARY[0]
    flat = bench.fixed_curve(times.even(1000))
    for point in bench.optimum_curve(times)[4:12]:
        assert 0.4 < point.polls / bench.at_lag(flat, point.lag) < 0.6


def test_a_plan_is_a_list_of_ages() -> None:
    plan = Plan([0, 10_000, 20_000], [10_000, 20_000, 20_000])
    assert next_poll(0, 0.5, plan) == 10_000
    assert next_poll(12_000, 0.5, plan) == 8_000
    assert next_poll(20_000, 0.5, plan) == 5_000
