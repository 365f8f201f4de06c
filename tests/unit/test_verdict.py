"""What a person may decide, verdict by verdict and state by state."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.domain.money import parse_amount
from orchestrator.domain.states import SUBMISSION_STATES, TRANSITIONS, Event, State
from orchestrator.domain.submission import Decision, NeedsPerson, Policy, Submission
from orchestrator.domain.verdict import (
    SETTLED,
    accept_double_charge,
    adopt,
    ask_again,
    charged,
    not_charged,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
POLICY = Policy(deadline=6 * HOUR, retention=24 * HOUR)
PAID = parse_amount("0.05")
S, E = State, Event

Judge = Callable[[Submission], Decision | None]
VERDICTS: dict[str, Judge] = {
    "ask again": lambda life: ask_again(life, now=NOW, policy=POLICY),
    "adopt": lambda life: adopt(life, "task_9", now=NOW),
    "not charged": lambda life: not_charged(life, now=NOW),
    "charged": lambda life: charged(life, PAID, now=NOW),
    "double charge": lambda life: accept_double_charge(life, now=NOW),
}
FITTING: dict[tuple[str, State], tuple[Event | None, State]] = {
    ("ask again", S.PENDING): (None, S.PENDING),
    ("ask again", S.UNKNOWN): (None, S.UNKNOWN),
    ("adopt", S.SUBMITTING): (E.QUEUE, S.QUEUED),
    ("adopt", S.UNKNOWN): (E.QUEUE, S.QUEUED),
    ("adopt", S.QUEUED): (None, S.QUEUED),
    ("adopt", S.PROCESSING): (None, S.PROCESSING),
    ("not charged", S.UNKNOWN): (E.RELEASE, S.PENDING),
    ("not charged", S.QUEUED): (E.FAIL, S.FAILED),
    ("not charged", S.PROCESSING): (E.FAIL, S.FAILED),
    ("charged", S.UNKNOWN): (E.FAIL, S.FAILED),
    ("charged", S.QUEUED): (E.FAIL, S.FAILED),
    ("charged", S.PROCESSING): (E.FAIL, S.FAILED),
    ("double charge", S.UNKNOWN): (E.FAIL, S.FAILED),
    ("double charge", S.QUEUED): (None, S.QUEUED),
    ("double charge", S.PROCESSING): (None, S.PROCESSING),
}


def life(state: State, **given: object) -> Submission:
    """A submission that waits for a person in this state."""
    usual: dict[str, object] = {
        "tries": 3,
        "conflicts": 2,
        "lapses": 4,
        "gated_at": NOW - HOUR,
        "unresolved": state is State.UNKNOWN,
        "first_sent_at": NOW - HOUR,
        "due_at": NOW + HOUR,
        "hold_nanos": 41_400_000,
        "needs_person": NeedsPerson.LOST,
        "error_code": "lost",
        "error_message": "gone",
        "error_text": "404",
    }
    if state in (State.QUEUED, State.PROCESSING):
        usual |= {"task_id": "task_1", "accepted_at": NOW - HOUR, "missing_since": NOW - HOUR}
    return Submission(state)._replace(**(usual | given))  # type: ignore[arg-type]


def judged(verdict: str, before: Submission) -> Decision:
    decision = VERDICTS[verdict](before)
    assert decision is not None
    return decision


@pytest.mark.parametrize("state", sorted(SUBMISSION_STATES))
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_fits_its_states_and_no_others(verdict: str, state: State) -> None:
    decision = VERDICTS[verdict](life(state))
    expected = FITTING.get((verdict, state))
    assert (decision and (decision.event, decision.after.state)) == expected


@pytest.mark.parametrize(("verdict", "state"), FITTING)
def test_a_verdict_moves_only_as_the_table_of_states_allows(verdict: str, state: State) -> None:
    decision = judged(verdict, life(state))
    if decision.event is None:
        assert decision.after.state is state
    else:
        assert TRANSITIONS[state, decision.event] is decision.after.state


@pytest.mark.parametrize(("verdict", "state"), FITTING)
def test_money_stays_held_until_a_verdict_says_what_became_of_it(
    verdict: str, state: State
) -> None:
    after = judged(verdict, life(state)).after
    still_out = after.state in (State.UNKNOWN, State.QUEUED, State.PROCESSING)
    if still_out:
        assert after.hold_nanos == 41_400_000
    elif verdict != "ask again":
        assert after.hold_nanos == 0


@pytest.mark.parametrize("state", [State.PENDING, State.UNKNOWN])
def test_asking_again_keeps_the_age_of_the_key_and_forgets_what_was_held_against_it(
    state: State,
) -> None:
    before = life(state)
    after = judged("ask again", before).after
    assert after == before._replace(
        needs_person=None, conflicts=0, lapses=0, gated_at=None, due_at=NOW
    )


@pytest.mark.parametrize("state", [State.PENDING, State.UNKNOWN])
@pytest.mark.parametrize("code", list(NeedsPerson))
def test_what_has_no_body_or_an_old_key_is_never_asked_again(
    state: State, code: NeedsPerson
) -> None:
    decision = VERDICTS["ask again"](life(state, needs_person=code))
    refused = code in (NeedsPerson.ROW_MISSING, NeedsPerson.KEY_EXPIRED)
    assert (decision is None) is refused


def test_a_key_is_asked_again_up_to_the_last_moment_it_is_trusted() -> None:
    sent = NOW - POLICY.trusted
    assert VERDICTS["ask again"](life(State.UNKNOWN, first_sent_at=sent + 1)) is not None
    assert VERDICTS["ask again"](life(State.UNKNOWN, first_sent_at=sent)) is None


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED, S.PROCESSING])
def test_an_adopted_task_is_asked_about_at_once_as_if_just_accepted(state: State) -> None:
    after = judged("adopt", life(state)).after
    assert (after.task_id, after.accepted_at, after.due_at) == ("task_9", NOW, NOW)
    assert not after.unresolved
    assert (after.missing_since, after.needs_person, after.lapses) == (None, None, 0)
    assert (after.error_code, after.error_message, after.error_text) == (None, None, None)


def test_what_was_not_charged_and_never_seen_is_sent_as_if_for_the_first_time() -> None:
    after = judged("not charged", life(State.UNKNOWN)).after
    assert after.first_sent_at is None
    assert not after.unresolved
    assert (after.conflicts, after.lapses, after.needs_person) == (0, 0, None)
    assert after.due_at == NOW
    assert after.assumed_nanos is None


def test_a_task_that_was_not_charged_is_over_for_nothing() -> None:
    after = judged("not charged", life(State.PROCESSING)).after
    assert (after.actual_nanos, after.assumed_nanos) == (None, 0)
    assert (after.error_code, after.finished_at, after.needs_person) == (SETTLED, NOW, None)


@pytest.mark.parametrize("state", [S.UNKNOWN, S.QUEUED, S.PROCESSING])
def test_what_was_charged_costs_what_the_person_says(state: State) -> None:
    decision = judged("charged", life(state))
    after = decision.after
    assert (after.actual_nanos, after.actual_text) == (PAID.nanos, PAID.text)
    assert after.assumed_nanos is None
    assert not after.unresolved
    assert after.error_code == SETTLED
    assert after.error_message == decision.note


@pytest.mark.parametrize("verdict", ["charged", "not charged"])
@pytest.mark.parametrize(
    ("said", "event", "end", "code"),
    [
        ("succeeded", E.SUCCEED, S.SUCCEEDED, None),
        ("cancelled", E.CANCEL, S.CANCELLED, SETTLED),
        ("failed", E.FAIL, S.FAILED, SETTLED),
        ("rendering", E.FAIL, S.FAILED, SETTLED),
    ],
)
def test_a_task_whose_end_is_known_keeps_it_whatever_it_cost(
    verdict: str, said: str, event: Event, end: State, code: str | None
) -> None:
    decision = judged(verdict, life(State.PROCESSING, raw_status=said))
    assert (decision.event, decision.after.state) == (event, end)
    assert decision.after.error_code == code


def test_a_word_about_a_task_says_nothing_of_a_submission_without_one() -> None:
    decision = judged("charged", life(State.UNKNOWN, raw_status="succeeded"))
    assert decision.after.state is State.FAILED


@pytest.mark.parametrize(("estimate", "assumed"), [(None, 41_400_000), (0, 0), (7, 7)])
def test_a_second_purchase_takes_the_first_as_charged_at_its_price(
    estimate: int | None, assumed: int
) -> None:
    after = judged("double charge", life(State.UNKNOWN, estimate_nanos=estimate)).after
    assert after.assumed_nanos == assumed
    assert after.actual_nanos is None


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_a_known_task_is_left_alone_beside_a_second_purchase(state: State) -> None:
    before = life(state)
    assert judged("double charge", before).after == before
