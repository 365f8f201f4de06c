"""What differs between our record of a purchase and the provider's, and what may be taken over."""

from __future__ import annotations

import pytest

from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import (
    Accepted,
    AskLater,
    Detail,
    Gated,
    GateReason,
    NotFound,
    PollOutcome,
    Task,
    TaskStatus,
)
from orchestrator.domain.reconciliation import Finding, Kind, compare, learn
from orchestrator.domain.states import SUBMISSION_STATES, TERMINAL, Event, State
from orchestrator.domain.submission import Submission
from orchestrator.domain.verdict import SETTLED

NOW = 1_800_000_000_000
COST = parse_amount("0.0414")
URL = "http://videos/1.mp4"
K = Kind
OURS = Submission(State.SUCCEEDED, task_id="task_1", actual_nanos=COST.nanos, actual_text=COST.text)
ASSUMED = OURS._replace(actual_nanos=None, actual_text=None, assumed_nanos=COST.nanos)
GIVEN_UP = ASSUMED._replace(state=State.FAILED, error_code=SETTLED, error_message="a person says")
OPEN = sorted(SUBMISSION_STATES - TERMINAL)
SILENT: list[PollOutcome] = [
    AskLater(Detail(message="no answer")),
    Gated(GateReason.FORBIDDEN, Detail(message="no")),
]


def theirs(status: TaskStatus | None = TaskStatus.SUCCEEDED, **given: object) -> Accepted:
    usual: dict[str, object] = {
        "raw_status": str(status),
        "cost_actual": COST,
        "videos": (URL,) if status is TaskStatus.SUCCEEDED else (),
    }
    return Accepted(Task("task_1", status, **(usual | given)))  # type: ignore[arg-type]


TABLE: list[tuple[Submission, PollOutcome, list[Finding]]] = [
    (OURS, theirs(), []),
    (OURS, theirs(cost_actual=parse_amount("0.04140")), []),
    (
        OURS,
        theirs(cost_actual=parse_amount("0.05")),
        [Finding(K.DRIFTED, "cost_actual", "0.0414", "0.05")],
    ),
    (OURS, theirs(cost_actual=None), [Finding(K.DRIFTED, "cost_actual", "0.0414", None)]),
    (
        OURS,
        theirs(cost_actual=None, cost_problem="negative"),
        [Finding(K.DRIFTED, "cost_actual", "0.0414", "negative")],
    ),
    (ASSUMED, theirs(), [Finding(K.ASSUMED, "cost_actual", "0.0414", "0.0414")]),
    (ASSUMED, theirs(cost_actual=None), [Finding(K.ASSUMED, "cost_actual", "0.0414", None)]),
    (
        ASSUMED._replace(assumed_nanos=None),
        theirs(),
        [Finding(K.ASSUMED, "cost_actual", None, "0.0414")],
    ),
    (
        OURS,
        theirs(videos=("http://videos/2.mp4",)),
        [Finding(K.DRIFTED, "video_urls", URL, "http://videos/2.mp4")],
    ),
    (OURS, theirs(videos=()), [Finding(K.DRIFTED, "video_urls", URL, "")]),
    (OURS, theirs(videos=(f"{URL}?signature=new",)), []),
    (
        OURS._replace(state=State.FAILED),
        theirs(),
        [Finding(K.DRIFTED, "state", "failed", "succeeded")],
    ),
    (
        OURS._replace(state=State.CANCELLED),
        theirs(TaskStatus.PROCESSING),
        [Finding(K.DRIFTED, "state", "cancelled", "processing")],
    ),
    (OURS, NotFound(Detail()), [Finding(K.MISSING, "task_id", "task_1", None)]),
    (OURS, SILENT[0], [Finding(K.UNANSWERED, "task_id", "task_1", "no answer")]),
    (OURS, SILENT[1], [Finding(K.UNANSWERED, "task_id", "task_1", "no")]),
]


@pytest.mark.parametrize(("ours", "answer", "findings"), TABLE)
def test_every_difference_is_found_and_nothing_else(
    ours: Submission, answer: PollOutcome, findings: list[Finding]
) -> None:
    assert compare(ours, [URL], answer) == findings


def test_several_differences_are_all_told() -> None:
    ours = OURS._replace(actual_text="0.05")
    found = compare(ours, [], theirs(raw_status="finished"))
    assert [one.field for one in found] == ["state", "cost_actual", "video_urls"]


@pytest.mark.parametrize("state", OPEN)
def test_a_task_that_is_open_here_may_be_further_there(state: State) -> None:
    ours = Submission(state, task_id="task_1")
    assert compare(ours, [], theirs()) == []
    assert compare(ours, [], NotFound(Detail())) == [Finding(K.MISSING, "task_id", "task_1", None)]


@pytest.mark.parametrize("state", sorted(SUBMISSION_STATES))
def test_only_an_end_learns_the_cost_that_was_assumed(state: State) -> None:
    ours = ASSUMED._replace(state=state)
    decision = learn(ours, theirs(), now=NOW)
    if state not in TERMINAL:
        assert decision is None
        return
    assert decision is not None
    assert decision.event is None
    assert decision.after == ours._replace(
        actual_nanos=COST.nanos, actual_text=COST.text, assumed_nanos=None
    )


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        (OURS, theirs(cost_actual=parse_amount("0.05"))),
        (ASSUMED, theirs(cost_actual=None)),
        (GIVEN_UP, theirs(TaskStatus.PROCESSING, cost_actual=None)),
        (GIVEN_UP, theirs(cost_actual=None, videos=())),
        (ASSUMED, NotFound(Detail())),
        *((GIVEN_UP, silent) for silent in SILENT),
    ],
)
def test_what_is_recorded_is_not_overwritten(ours: Submission, answer: PollOutcome) -> None:
    assert learn(ours, answer, now=NOW) is None


@pytest.mark.parametrize("cost", [COST, None])
def test_a_success_that_a_person_gave_up_on_is_taken_over(cost: object) -> None:
    decision = learn(GIVEN_UP, theirs(cost_actual=cost), now=NOW)
    assert decision is not None
    after = decision.after
    assert (decision.event, after.state) == (Event.SUCCEED, State.SUCCEEDED)
    assert decision.videos == (URL,)
    assert (after.error_code, after.error_message, after.finished_at) == (None, None, NOW)
    expected = (COST.nanos, None) if cost else (None, COST.nanos)
    assert (after.actual_nanos, after.assumed_nanos) == expected


def test_a_persons_cost_stays_where_the_provider_names_none() -> None:
    paid = GIVEN_UP._replace(actual_nanos=5, actual_text="0.000000005", assumed_nanos=None)
    decision = learn(paid, theirs(cost_actual=None), now=NOW)
    assert decision is not None
    assert (decision.after.actual_nanos, decision.after.assumed_nanos) == (5, None)


def test_a_failure_that_the_provider_told_is_not_turned_into_a_success() -> None:
    failed = OURS._replace(state=State.FAILED, error_code="nsfw")
    assert learn(failed, theirs(), now=NOW) is None
