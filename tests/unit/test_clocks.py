"""How far a clock is off, and what follows."""

from __future__ import annotations

import pytest

from orchestrator.domain.clocks import TOO_FAR, Skew, judge, measured, refuse_far
from orchestrator.domain.findings import Level
from orchestrator.domain.submission import Policy
from orchestrator.errors import ConfigError

HOUR = 3_600_000


def test_the_middle_of_the_question_is_when_it_was_answered() -> None:
    assert measured(1_000, 1_050, 1_100) == Skew(0, 50)
    assert measured(5_000, 1_000, 5_001) == Skew(4_000, 1)


@pytest.mark.parametrize(
    ("skew", "level"),
    [
        (Skew(0), Level.OK),
        (Skew(1_500), Level.OK),
        (Skew(30_000, doubt=29_000), Level.OK),
        (Skew(3_000, doubt=10), Level.WARNING),
        (Skew(-59_000), Level.WARNING),
        (Skew(TOO_FAR), Level.WARNING),
        (Skew(TOO_FAR + 1), Level.BAD),
        (Skew(-HOUR), Level.BAD),
        (Skew(HOUR, doubt=HOUR), Level.OK),
    ],
)
def test_what_is_said_of_it(skew: Skew, level: Level) -> None:
    found = judge(skew, "host-a")
    assert found.level is level
    assert "host-a" in found.found
    if level is Level.BAD:
        with pytest.raises(ConfigError) as refused:
            refuse_far(skew)
        assert (refused.value.code, refused.value.exit_code) == ("clock", 3)
    else:
        refuse_far(skew)


def test_which_way_it_is_off() -> None:
    assert "3,600 s ahead of" in judge(Skew(HOUR), "a").found
    assert "3,600 s behind" in judge(Skew(-HOUR), "a").found


def test_two_clocks_that_are_let_through_agree_within_the_margin_of_a_key() -> None:
    policy = Policy(deadline=HOUR, retention=24 * HOUR)
    assert policy.retention - policy.trusted > 2 * TOO_FAR
