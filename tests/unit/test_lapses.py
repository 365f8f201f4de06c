"""Workers that die over a row: it is asked again, and set aside when they keep dying."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.domain import cadence
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    AskLater,
    Detail,
    Lost,
    NotFound,
    NothingCharged,
    NotSent,
    PollOutcome,
    Rejected,
    SubmitOutcome,
    Task,
    TaskStatus,
)
from orchestrator.domain.states import Event, State
from orchestrator.domain.submission import (
    POISON_AFTER,
    Decision,
    NeedsPerson,
    Policy,
    Submission,
    after_poll,
    after_submit,
    claim,
    lapse,
    lapse_poll,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
POLICY = Policy(deadline=6 * HOUR, retention=24 * HOUR)
DETAIL = Detail(message="no")
SENT = claim(Submission(State.PENDING), now=NOW - HOUR, hold_nanos=7)
POLLED = SENT._replace(state=State.PROCESSING, task_id="task_1", accepted_at=NOW - HOUR)
TASK = Task("task_1", TaskStatus.PROCESSING, "processing")

Lapse = Callable[[Submission], Decision]


def lapse_now(before: Submission) -> Decision:
    return lapse(before, now=NOW)


def lapse_poll_now(before: Submission) -> Decision:
    return lapse_poll(before, now=NOW)


LAPSES = pytest.mark.parametrize(
    ("before", "die"), [(SENT, lapse_now), (POLLED, lapse_poll_now)], ids=["submit", "poll"]
)


@LAPSES
@pytest.mark.parametrize("earlier", range(POISON_AFTER + 1))
def test_only_the_last_death_in_a_row_sets_a_row_aside(
    before: Submission, die: Lapse, earlier: int
) -> None:
    after = die(before._replace(lapses=earlier)).after
    assert after.lapses == earlier + 1
    poisoned = earlier + 1 >= POISON_AFTER
    assert after.needs_person is (NeedsPerson.POISON if poisoned else None)


def test_a_lost_submit_may_have_been_charged() -> None:
    decision = lapse_now(SENT._replace(conflicts=2))
    assert (decision.event, decision.after.state) == (Event.LOSE, State.UNKNOWN)
    assert decision.after.unresolved
    assert (decision.after.hold_nanos, decision.after.first_sent_at) == (7, NOW - HOUR)
    assert decision.after.due_at == NOW
    assert decision.after.conflicts == 0


def test_a_lost_poll_changes_nothing_but_its_count() -> None:
    assert lapse_poll_now(POLLED).after == POLLED._replace(lapses=1, due_at=NOW)
    assert lapse_poll_now(POLLED).event is None


def test_a_task_that_was_set_aside_is_still_asked_about_now_and_then() -> None:
    after = lapse_poll_now(POLLED._replace(lapses=POISON_AFTER - 1)).after
    assert after.due_at == NOW + cadence.SPARSE


@LAPSES
def test_another_question_to_a_person_outlives_a_death(before: Submission, die: Lapse) -> None:
    asked = before._replace(needs_person=NeedsPerson.COST_UNREADABLE)
    assert die(asked).after.needs_person is NeedsPerson.COST_UNREADABLE


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(TASK),
        Rejected(DETAIL),
        NothingCharged(DETAIL),
        NotSent("the lease would end"),
        Ambiguous(Lost.TIMEOUT, DETAIL),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_any_answer_to_a_submit_shows_a_worker_that_lived(outcome: SubmitOutcome | NotSent) -> None:
    before = SENT._replace(lapses=POISON_AFTER - 1)
    decision = after_submit(
        before, outcome, now=NOW, policy=POLICY, jitter=0.5, others_passed=False
    )
    assert decision.after.lapses == 0


@pytest.mark.parametrize(
    "outcome",
    [Accepted(TASK), NotFound(DETAIL), AskLater(DETAIL)],
    ids=lambda outcome: type(outcome).__name__,
)
def test_any_answer_to_a_poll_shows_a_worker_that_lived(outcome: PollOutcome) -> None:
    before = POLLED._replace(lapses=POISON_AFTER - 1)
    assert after_poll(before, outcome, now=NOW, policy=POLICY, jitter=0.5).after.lapses == 0


def test_news_of_a_task_that_was_set_aside_takes_it_up_again() -> None:
    before = POLLED._replace(lapses=POISON_AFTER, needs_person=NeedsPerson.POISON)
    after = after_poll(before, Accepted(TASK), now=NOW, policy=POLICY, jitter=0.5).after
    assert (after.lapses, after.needs_person) == (0, None)
