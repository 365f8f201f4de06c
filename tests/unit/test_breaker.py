"""What stops a sending process, and what shares a chunk with a row that lost its worker."""

from __future__ import annotations

import pytest

from orchestrator.domain.breaker import TRIPS_AFTER, Breaker
from orchestrator.domain.isolation import FEW, chunk_limit
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    Detail,
    Gated,
    GateReason,
    Lost,
    NothingCharged,
    NotSent,
    Rejected,
    SubmitOutcome,
    Task,
    TaskStatus,
)

DETAIL = Detail(message="no")
ACCEPTED = Accepted(Task("task_1", TaskStatus.QUEUED, "queued"))
NEUTRAL: list[SubmitOutcome | NotSent] = [
    Rejected(DETAIL),
    NothingCharged(DETAIL),
    Gated(GateReason.FORBIDDEN, DETAIL),
    NotSent("the lease would end"),
    Ambiguous(Lost.CONFLICT, DETAIL),
]
COUNTED = [reason for reason in Lost if reason is not Lost.CONFLICT]


def nearly(reason: Lost) -> Breaker:
    """A breaker that one more failure of this kind trips."""
    breaker = Breaker()
    assert not any(breaker.trips(Ambiguous(reason, DETAIL)) for _ in range(TRIPS_AFTER - 1))
    return breaker


@pytest.mark.parametrize("reason", COUNTED)
def test_a_run_of_equal_failures_trips_once_and_counts_from_none(reason: Lost) -> None:
    breaker = nearly(reason)
    assert breaker.trips(Ambiguous(reason, DETAIL))
    for _ in range(TRIPS_AFTER - 1):
        assert not breaker.trips(Ambiguous(reason, DETAIL))
    assert breaker.trips(Ambiguous(reason, DETAIL))


def test_a_success_ends_the_run() -> None:
    breaker = nearly(Lost.TIMEOUT)
    assert not breaker.trips(ACCEPTED)
    assert not breaker.trips(Ambiguous(Lost.TIMEOUT, DETAIL))


def test_another_failure_begins_a_run_of_its_own() -> None:
    breaker = nearly(Lost.TIMEOUT)
    assert not breaker.trips(Ambiguous(Lost.SERVER_ERROR, DETAIL))
    for _ in range(TRIPS_AFTER - 2):
        assert not breaker.trips(Ambiguous(Lost.SERVER_ERROR, DETAIL))
    assert breaker.trips(Ambiguous(Lost.SERVER_ERROR, DETAIL))


@pytest.mark.parametrize("outcome", NEUTRAL, ids=lambda outcome: type(outcome).__name__)
def test_a_rows_own_affair_neither_counts_nor_ends_the_run(
    outcome: SubmitOutcome | NotSent,
) -> None:
    breaker = nearly(Lost.TIMEOUT)
    assert not any(breaker.trips(outcome) for _ in range(TRIPS_AFTER + 1))
    assert breaker.trips(Ambiguous(Lost.TIMEOUT, DETAIL))


@pytest.mark.parametrize("outcome", NEUTRAL, ids=lambda outcome: type(outcome).__name__)
def test_nothing_but_failures_trips(outcome: SubmitOutcome | NotSent) -> None:
    breaker = Breaker()
    assert not any(breaker.trips(outcome) for _ in range(3 * TRIPS_AFTER))


@pytest.mark.parametrize(
    ("size", "lapses", "limit"),
    [(50, 0, 50), (3, 0, 3), (50, 1, FEW), (3, 1, 3), (50, 2, 1), (3, 9, 1), (1, 1, 1)],
)
def test_rows_of_a_dying_chunk_go_on_in_smaller_ones(size: int, lapses: int, limit: int) -> None:
    assert chunk_limit(size, lapses) == limit
