"""A cap of tasks in flight, learned from refusals: the decisions alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import learned_cap
from orchestrator.domain.in_flight import InFlight
from orchestrator.domain.learned_cap import FORGET, LONGEST, SHORTEST, TOGETHER, Refusal, cap, note

NOW = 1_800_000_000_000


def refused(*numbers: int, apart: int = TOGETHER, age: int = 0) -> Refusal:
    """What is remembered after refusals at these numbers in flight, the last one now."""
    known: Refusal | None = None
    for steps, number in zip(reversed(range(len(numbers))), numbers, strict=True):
        known = note(known, number=number, age=age, now=NOW - steps * apart)
    assert known is not None
    return known


def test_one_refusal_says_nothing_of_tasks_and_nor_do_those_at_its_heels() -> None:
    assert cap(refused(20), NOW) is None
    assert cap(refused(20, 20, 20, apart=TOGETHER // 3), NOW) is None


@pytest.mark.parametrize(
    ("before", "number", "capped"),
    [
        (20, 20, True),
        (20, 22, True),
        (20, 23, False),
        (20, 17, True),
        (20, 15, False),
        (1, 1, True),
        (1, 0, False),
        (900, 885, True),
        (900, 920, False),
    ],
)
def test_two_refusals_at_about_the_same_number_are_of_tasks(
    before: int, number: int, capped: bool
) -> None:
    assert (cap(refused(before, number), NOW) is not None) is capped


def test_a_cap_is_held_then_tried_a_little_then_let_go() -> None:
    known = refused(20, 20)
    assert cap(known, NOW) == cap(known, NOW + SHORTEST) == 20
    assert cap(known, NOW + SHORTEST + 2_000) == 21
    assert (cap(known, NOW + SHORTEST + 10_000) or 0) > 150
    assert cap(known, NOW + FORGET) is None


def test_the_longer_tasks_run_the_rarer_is_a_further_try() -> None:
    holds = [refused(*[20] * times, age=8_000).hold for times in (2, 3, 4, 5)]
    assert holds == [SHORTEST, 2 * SHORTEST, 8_000, 8_000]
    assert refused(*[20] * 9, age=3_600_000).hold == LONGEST


def test_a_further_try_that_finds_another_number_moves_the_cap() -> None:
    for number in (28, 12):
        known = refused(20, 20, 20, number, age=60_000)
        assert (cap(known, NOW), known.hold) == (number, SHORTEST)
    assert cap(refused(20, 20, 0), NOW) is None


def test_a_refusal_at_the_heels_lowers_a_cap_and_counts_late_records_before_there_is_one() -> None:
    known = note(refused(20, 20), number=18, age=0, now=NOW + 1)
    assert cap(known, NOW + 1) == 18
    assert note(known, number=21, age=0, now=NOW + 2).number == 18
    assert note(refused(3), number=20, age=0, now=NOW + 1).number == 20


def test_an_old_refusal_and_one_that_lies_ahead_say_nothing() -> None:
    for later in (FORGET, -1):
        assert cap(refused(20, 20), NOW + later) is None
        assert note(refused(20), number=20, age=0, now=NOW + later).hold == 0


def test_only_a_refusal_with_the_cap_used_up_is_one_of_tasks() -> None:
    known = refused(20, 20)
    found = {n for n in range(40) if learned_cap.explains(known, n, NOW)}
    assert found == set(range(18, 40))
    assert not learned_cap.explains(refused(20), 30, NOW)


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 90_000), st.integers(0, 10**7))),
    st.integers(0, 90_000),
)
def test_whatever_comes_something_may_be_in_flight(
    steps: list[tuple[int, int, int]], later: int
) -> None:
    known, now = None, NOW
    for number, passes, age in steps:
        now += passes
        known = note(known, number=number, age=age, now=now)
        found = cap(known, now)
        assert found is None or 1 <= found <= max(number for number, _, _ in steps)
    if known is not None:
        found = cap(known, now + later)
        assert found is None or found >= known.number >= 1


def test_what_is_learned_only_lowers_what_a_person_has_set() -> None:
    assert str(InFlight(100, {"a": 20}).lowered({"a": 30, "b": 7})) == "100,a=20,b=7"
    assert InFlight().lowered({"a": 3}) == InFlight(None, {"a": 3})
    assert not InFlight().lowered({})
