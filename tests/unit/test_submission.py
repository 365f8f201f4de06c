"""What each outcome makes of a submission: docs/provider.md and the states' rules, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    AskLater,
    Detail,
    Gated,
    GateReason,
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
from orchestrator.domain.states import IN_FLIGHT, TERMINAL, Event, State
from orchestrator.domain.submission import (
    MAX_CONFLICTS,
    Decision,
    NeedsPerson,
    Policy,
    Submission,
    after_poll,
    after_submit,
    claim,
    key_trusted,
    lapse,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
POLICY = Policy(deadline=6 * HOUR, retention=24 * HOUR)
COST = parse_amount("0.0414")
DETAIL = Detail(status=400, message="no")
FIRST = claim(Submission(State.PENDING), now=NOW, hold_nanos=COST.nanos)
AGAIN = FIRST._replace(unresolved=True, first_sent_at=NOW - HOUR, tries=2)


def task(status: TaskStatus | None, **given: object) -> Task:
    defaults: dict[str, object] = {"raw_status": str(status), "cost_estimate": COST}
    return Task("task_1", status, **(defaults | given))  # type: ignore[arg-type]


def sent(
    before: Submission, outcome: SubmitOutcome | NotSent, *, now: int = NOW, passed: bool = False
) -> Decision:
    return after_submit(before, outcome, now=now, policy=POLICY, jitter=0.5, others_passed=passed)


def polled(before: Submission, outcome: PollOutcome, *, now: int = NOW) -> Decision:
    return after_poll(before, outcome, now=now, policy=POLICY, jitter=0.5)


RUNNING = sent(FIRST, Accepted(task(TaskStatus.PROCESSING))).after

COSTLESS: list[SubmitOutcome | NotSent] = [
    NothingCharged(DETAIL, GateReason.RATE_LIMITED, 7.0),
    NothingCharged(DETAIL, GateReason.UNREACHABLE),
    Gated(GateReason.UNAUTHORIZED, DETAIL),
    NotSent("the lease would end"),
]


@pytest.mark.parametrize("outcome", COSTLESS)
def test_a_first_try_that_cost_nothing_frees_its_hold(outcome: SubmitOutcome | NotSent) -> None:
    decision = sent(FIRST, outcome)
    assert decision.event is Event.RELEASE
    assert decision.after.state is State.PENDING
    assert decision.after.hold_nanos == 0
    assert decision.after.first_sent_at is None


@pytest.mark.parametrize("outcome", [*COSTLESS, Rejected(DETAIL)])
def test_a_costless_answer_does_not_speak_for_an_earlier_try(
    outcome: SubmitOutcome | NotSent,
) -> None:
    decision = sent(AGAIN, outcome)
    assert decision.after.state is State.UNKNOWN
    assert decision.after.hold_nanos == COST.nanos
    assert decision.after.first_sent_at == NOW - HOUR
    assert decision.after.unresolved


def test_a_rejected_first_try_is_the_end_and_free() -> None:
    decision = sent(FIRST, Rejected(DETAIL))
    assert decision.after.state is State.REJECTED
    assert decision.after.hold_nanos == 0
    assert decision.after.error_message == "no"


@pytest.mark.parametrize("lost", list(Lost))
def test_an_ambiguous_answer_keeps_everything(lost: Lost) -> None:
    decision = sent(FIRST, Ambiguous(lost, DETAIL))
    assert decision.after.state is State.UNKNOWN
    assert decision.after.hold_nanos == COST.nanos
    assert decision.after.first_sent_at == NOW
    assert decision.after.due_at > NOW


def test_a_503_closes_the_gate_as_long_as_it_says() -> None:
    decision = sent(FIRST, Ambiguous(Lost.UNAVAILABLE, DETAIL, 30.0))
    assert decision.gate is not None
    assert decision.gate.seconds == 30.0
    assert decision.after.state is State.UNKNOWN


def test_conflicts_in_a_row_ask_for_a_person() -> None:
    before = FIRST
    for number in range(1, MAX_CONFLICTS + 1):
        decision = sent(before, Ambiguous(Lost.CONFLICT, DETAIL))
        expected = NeedsPerson.IDEMPOTENCY_CONFLICT if number == MAX_CONFLICTS else None
        assert decision.after.needs_person is expected
        assert decision.after.hold_nanos == COST.nanos
        before = claim(decision.after, now=NOW, hold_nanos=decision.after.hold_nanos)


def test_a_row_refused_again_while_others_pass_is_the_rows_fault() -> None:
    once = sent(FIRST, Gated(GateReason.FORBIDDEN, DETAIL))
    assert once.gate is not None
    before = claim(once.after, now=NOW + 1, hold_nanos=COST.nanos)
    again = sent(before, Gated(GateReason.FORBIDDEN, DETAIL), passed=True)
    assert again.gate is None
    assert again.after.needs_person is NeedsPerson.REFUSED_ALONE
    still = sent(before, Gated(GateReason.FORBIDDEN, DETAIL), passed=False)
    assert still.gate is not None


def test_an_accepted_task_holds_its_estimate() -> None:
    decision = sent(FIRST._replace(hold_nanos=10**9), Accepted(task(TaskStatus.QUEUED)))
    assert decision.after.state is State.QUEUED
    assert decision.after.hold_nanos == COST.nanos
    assert decision.price == COST
    unpriced = sent(FIRST, Accepted(task(TaskStatus.QUEUED, cost_estimate=None)))
    assert unpriced.after.hold_nanos == COST.nanos


def test_a_replay_may_be_at_its_end() -> None:
    done = task(TaskStatus.SUCCEEDED, cost_actual=COST, videos=("u",))
    decision = sent(AGAIN, Accepted(done))
    assert decision.after.state is State.SUCCEEDED
    assert decision.after.actual_nanos == COST.nanos
    assert decision.after.hold_nanos == 0
    assert decision.videos == ("u",)
    assert not decision.after.unresolved


@pytest.mark.parametrize(
    ("status", "assumed"),
    [(TaskStatus.SUCCEEDED, COST.nanos), (TaskStatus.FAILED, 0), (TaskStatus.CANCELLED, 0)],
)
def test_an_end_without_a_cost_is_assumed(status: TaskStatus, assumed: int) -> None:
    decision = polled(RUNNING, Accepted(task(status, videos=("u",))))
    assert decision.after.actual_nanos is None
    assert decision.after.assumed_nanos == assumed
    assert decision.after.hold_nanos == 0


def test_an_unreadable_cost_keeps_the_hold_and_stops_the_batch() -> None:
    odd = task(TaskStatus.SUCCEEDED, cost_problem="cost_actual is negative", videos=("u",))
    decision = polled(RUNNING, Accepted(odd))
    assert decision.after.state is State.PROCESSING
    assert decision.after.hold_nanos == COST.nanos
    assert decision.after.needs_person is NeedsPerson.COST_UNREADABLE
    assert decision.stop is not None
    at_submit = sent(FIRST, Accepted(task(TaskStatus.QUEUED, cost_problem="cost_estimate is NaN")))
    assert at_submit.after.state is State.PROCESSING, "it exists, so it is never sent again"
    assert at_submit.after.task_id == "task_1"


def test_a_cost_above_the_estimate_is_recorded_exactly() -> None:
    more = parse_amount("0.0828000001")
    decision = polled(RUNNING, Accepted(task(TaskStatus.SUCCEEDED, cost_actual=more)))
    assert decision.after.actual_nanos == 82_800_001
    assert decision.after.actual_text == "0.0828000001"


def test_a_success_without_video_is_flagged() -> None:
    decision = polled(RUNNING, Accepted(task(TaskStatus.SUCCEEDED, cost_actual=COST)))
    assert decision.after.state is State.SUCCEEDED
    assert decision.after.error_code == "no_output"


def test_an_unknown_word_is_still_running() -> None:
    for before in (FIRST, RUNNING):
        decision = (sent if before is FIRST else polled)(
            before, Accepted(task(None, raw_status="rendering"))
        )
        assert decision.after.state is State.PROCESSING
        assert decision.after.raw_status == "rendering"
        assert decision.after.due_at > NOW


def test_back_in_the_queue_is_no_end() -> None:
    assert polled(RUNNING, Accepted(task(TaskStatus.QUEUED))).after.state is State.QUEUED


def test_an_end_is_final() -> None:
    done = polled(RUNNING, Accepted(task(TaskStatus.SUCCEEDED, cost_actual=COST))).after
    later = polled(done, Accepted(task(TaskStatus.FAILED)))
    assert later.event is None
    assert later.after == done


def test_a_task_that_cannot_be_found() -> None:
    soon = polled(RUNNING, NotFound(DETAIL), now=NOW + 30_000)
    assert soon.after.needs_person is None
    assert soon.after.due_at < NOW + 40_000
    sparse = polled(soon.after, NotFound(DETAIL), now=NOW + 120_000)
    assert sparse.after.needs_person is None
    assert sparse.after.due_at >= NOW + 400_000
    lost = polled(sparse.after, NotFound(DETAIL), now=NOW + 640_000)
    assert lost.after.needs_person is NeedsPerson.LOST
    assert lost.after.hold_nanos == COST.nanos
    found = polled(lost.after, Accepted(task(TaskStatus.SUCCEEDED, cost_actual=COST)))
    assert found.after.needs_person is None
    assert found.after.state is State.SUCCEEDED


def test_a_task_that_takes_too_long_is_asked_about_rarely() -> None:
    late = NOW + POLICY.deadline + 1
    decision = polled(RUNNING, Accepted(task(TaskStatus.PROCESSING)), now=late)
    assert decision.after.needs_person is NeedsPerson.OVERDUE
    assert decision.after.due_at >= late + 300_000


@pytest.mark.parametrize("outcome", [AskLater(DETAIL), Gated(GateReason.FORBIDDEN, DETAIL)])
def test_a_poll_without_news_changes_no_state(outcome: PollOutcome) -> None:
    decision = polled(RUNNING, outcome)
    assert decision.event is None
    assert decision.after.state is State.PROCESSING
    assert decision.after.hold_nanos == COST.nanos


def test_a_lapsed_lease_is_asked_again_at_once() -> None:
    decision = lapse(FIRST, now=NOW + 5)
    assert decision.after.state is State.UNKNOWN
    assert decision.after.due_at == NOW + 5
    assert decision.after.hold_nanos == COST.nanos


def test_a_key_is_trusted_for_its_retention_less_an_hour() -> None:
    assert key_trusted(FIRST, now=NOW + 23 * HOUR - 1, policy=POLICY)
    assert not key_trusted(FIRST, now=NOW + 23 * HOUR, policy=POLICY)


SUBMITS = st.sampled_from(
    [
        *COSTLESS,
        Rejected(DETAIL),
        *(Ambiguous(lost, DETAIL) for lost in Lost),
        Accepted(task(TaskStatus.QUEUED)),
        Accepted(task(TaskStatus.SUCCEEDED, cost_actual=COST)),
    ]
)
POLLS = st.sampled_from(
    [
        NotFound(DETAIL),
        AskLater(DETAIL),
        *(Accepted(task(status, cost_actual=COST)) for status in TaskStatus),
        Accepted(task(TaskStatus.FAILED, cost_problem="cost_actual is NaN")),
    ]
)


@given(st.lists(st.tuples(SUBMITS, POLLS), min_size=1, max_size=12))
def test_money_is_held_until_it_is_settled_once(steps: list[tuple[object, object]]) -> None:
    life = Submission(State.PENDING)
    possibly_bought = False
    for number, (submit, poll) in enumerate(steps):
        now = NOW + number * 1000
        if life.state in (State.PENDING, State.UNKNOWN):
            held = life.hold_nanos or COST.nanos
            life = sent(claim(life, now=now, hold_nanos=held), submit, now=now).after  # type: ignore[arg-type]
            possibly_bought |= isinstance(submit, Ambiguous | Accepted)
        elif life.state not in TERMINAL:
            life = polled(life, poll, now=now).after  # type: ignore[arg-type]
        else:
            assert polled(life, poll, now=now).after == life  # type: ignore[arg-type]
        settled = life.actual_nanos is not None or life.assumed_nanos is not None
        if possibly_bought:
            assert (life.state in IN_FLIGHT and life.hold_nanos > 0) or settled
        assert not (settled and life.hold_nanos)
