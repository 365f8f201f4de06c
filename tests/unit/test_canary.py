"""The canary's verdict, apart from any database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.canary import (
    Canary,
    Pace,
    Phase,
    Row,
    from_json,
    judge,
    patience,
    ratio,
    share,
)
from orchestrator.domain.states import OPEN, TERMINAL, State

NOW = 10_000_000
GOOD = Row(State.SUCCEEDED, NOW - 5, 100, 100)
BAD = Row(State.FAILED, NOW - 5, 0, 0)
SENT = Row(State.PROCESSING, NOW - 5, 0, 0)
LATE = Row(State.PROCESSING, NOW - Canary(1).patience - 1, 0, 0)
UNSENT = Row(State.PENDING, None, 0, 0)


@pytest.mark.parametrize(
    ("rows", "phase"),
    [
        ([GOOD] * 5, Phase.PASSED),
        ([GOOD] * 4 + [BAD], Phase.PASSED),
        ([GOOD] * 3 + [BAD] * 2, Phase.FAILED),
        ([UNSENT] * 3 + [BAD] * 2, Phase.FAILED),
        ([GOOD] * 4 + [SENT], Phase.TRYING),
        ([GOOD] * 4 + [UNSENT], Phase.TRYING),
        ([GOOD] * 4 + [LATE], Phase.PASSED),
        ([GOOD] * 3 + [LATE] * 2, Phase.FAILED),
        ([GOOD] * 4 + [Row(State.SUCCEEDED, 1, 100, 201)], Phase.FAILED),
        ([GOOD] * 4 + [Row(State.SUCCEEDED, 1, 100, 200)], Phase.PASSED),
        ([Row(State.FAILED, 1, 100, 130), *[GOOD] * 5], Phase.PASSED),
        ([Row(State.SUCCEEDED, 1, 0, 1)], Phase.FAILED),
        ([Row(State.WITHDRAWN, None, 0, 0)] * 4, Phase.TRYING),
        ([Row(State.WITHDRAWN, None, 0, 0)] * 4 + [GOOD], Phase.PASSED),
    ],
)
def test_verdicts(rows: list[Row], phase: Phase) -> None:
    found = judge(Canary(5), rows, now=NOW)
    assert found.phase is phase
    assert bool(found.reason) is (phase is Phase.FAILED)


_ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(sorted(OPEN | TERMINAL)),
        st.none() | st.integers(1, NOW),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=12,
)


@given(_ROWS, st.integers(0, 1000))
def test_what_passed_had_few_failures_and_nothing_open(rows: list[Row], failures: int) -> None:
    counted = [row for row in rows if row.state is not State.WITHDRAWN]
    bad = [row for row in counted if row.state is not State.SUCCEEDED]
    if judge(Canary(9, failures=failures), rows, now=NOW).phase is Phase.PASSED:
        assert len(bad) * 1000 <= failures * len(counted)
        assert counted


@given(_ROWS, st.integers(0, 100))
def test_a_failed_one_stays_failed_as_time_goes_by(rows: list[Row], later: int) -> None:
    first = judge(Canary(9), rows, now=NOW).phase
    if first is Phase.FAILED:
        assert judge(Canary(9), rows, now=NOW + later).phase is Phase.FAILED


@pytest.mark.parametrize(
    ("text", "number"), [("20%", 200), ("0.2", 200), ("100%", 1000), ("2.5 %", 25), ("0", 0)]
)
def test_shares(text: str, number: int) -> None:
    assert share(text) == number


def test_ratios_and_lengths_of_time() -> None:
    assert (ratio("1.2"), ratio("150%"), patience("90m")) == (1200, 1500, 5_400_000)


@pytest.mark.parametrize("text", ["", "-1", "nan", "1e9", "20%%", "٣", "2", "101%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="a share is"):
        share(text)


@pytest.mark.parametrize(
    ("read", "text"),
    [(ratio, "0"), (ratio, "0.0%"), (patience, "0s"), (patience, "366d"), (patience, "soon")],
)
def test_bounds_that_nothing_or_everything_passes(read: Callable[[str], int], text: str) -> None:
    with pytest.raises(ValueError, match=r"ratio of nothing|more than nothing|a number and a unit"):
        read(text)


def test_what_is_typed_comes_before_the_spec() -> None:
    spec = Pace(9, Canary(3), 2)
    assert Pace(0, None, 5).over(spec) == Pace(0, Canary(3), 5)
    assert from_json(Canary(3, cost=1).to_json()) == Canary(3, cost=1)
