"""What a plan says of its budget, and of how long it would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.budget import Cover, holds, judge
from orchestrator.domain.forecast import SAMPLE, End, expect

PRICES = {"std": 10, "pro": 30}


@pytest.mark.parametrize(
    ("left", "rows", "kind", "said"),
    [
        (None, {"std": 5}, Cover.NO_BUDGET, "no budget"),
        (50, {"std": 5}, Cover.COVERED, "all 5 rows; 0 USD would be left"),
        (49, {"std": 5}, Cover.SHORT, "about 4 of 5 rows; 0.000000001 USD more"),
        (-5, {"std": 5}, Cover.SHORT, "no row"),
        (99, {"std": 5, "odd": 1}, Cover.PROBES, "the price of odd is unknown"),
        (9, {"std": 5, "odd": 1}, Cover.SHORT, "and whatever odd costs"),
        (0, {}, Cover.COVERED, "nothing to send"),
    ],
)
def test_verdicts(left: int | None, rows: dict[str, int], kind: Cover, said: str) -> None:
    verdict = judge(left, rows, PRICES)
    assert verdict.kind is kind
    assert said in verdict.text


@given(st.integers(-50, 500), st.integers(0, 9), st.integers(0, 9))
def test_the_verdict_is_what_claiming_does(left: int, std: int, pro: int) -> None:
    verdict = judge(left, {"std": std, "pro": pro}, PRICES)
    granted = holds([10] * std + [30] * pro, free_nanos=left, held_nanos=0)
    assert (verdict.kind is Cover.COVERED) == (None not in granted)


def ends(number: int, *, took: int = 60_000, apart: int = 1_000) -> list[End]:
    return [End(at, took) for at in range(0, number * apart, apart)]


def test_nothing_is_expected_of_too_little() -> None:
    assert expect([ends(2)], 10, per_second=50, in_flight=None) is None
    assert expect([ends(9)], 0, per_second=50, in_flight=None) is None


def test_a_few_rows_take_as_long_as_one() -> None:
    found = expect([ends(3)], 10, per_second=50, in_flight=None)
    assert found is not None
    assert (found.low, found.sample) == (60_200, 3)


def test_many_rows_take_as_long_as_the_limits_let_them() -> None:
    one_by_one = expect([ends(3)], 100, per_second=50, in_flight=1)
    assert one_by_one is not None
    assert one_by_one.low == 100 * 60_000
    # A full sample shows the pace of the provider, a small one only that there was little to do.
    full = expect([ends(SAMPLE)], 10_000, per_second=50, in_flight=None)
    small = expect([ends(SAMPLE - 1)], 10_000, per_second=50, in_flight=None)
    assert full is not None
    assert small is not None
    assert full.high >= 10_000 * 1_000 > small.high


@given(
    st.lists(st.lists(st.builds(End, at=st.integers(0, 10**9), took=st.integers(0, 10**8)))),
    st.integers(0, 10**6),
    st.none() | st.floats(0.01, 1000),
    st.none() | st.integers(1, 1000),
)
def test_low_is_never_above_high(
    samples: list[list[End]], rows: int, per_second: float | None, in_flight: int | None
) -> None:
    found = expect(samples, rows, per_second=per_second, in_flight=in_flight)
    assert found is None or 0 <= found.low <= found.high
