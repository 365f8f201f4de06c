"""Merging a journal into a database adds knowledge, takes none back, and may be done twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.recovery import End, Told, claimed, merge, without_row
from orchestrator.domain.states import SUBMISSION_STATES, TERMINAL, Event, State
from orchestrator.domain.submission import Decision, NeedsPerson, Policy, Submission

NOW = 1_800_000_000_000
HOUR = 3_600_000
POLICY = Policy(deadline=6 * HOUR, retention=24 * HOUR)
PRICE = parse_amount("0.0414")
PAID = parse_amount("0.05")
S, E = State, Event
KEY = {
    "idempotency_key": "k",
    "row_key": "r",
    "generation": 0,
    "model": "m",
    "digest": "d",
    "price_class": "std",
    "account": "acc",
}
SUCCESS = End(TaskStatus.SUCCEEDED, PAID, None, ("http://videos/1.mp4",))
POLLED = (State.QUEUED, State.PROCESSING)


def told(**given: object) -> Told:
    """A journal's word; without more, one attempt of which no answer is known."""
    usual: dict[str, object] = {"attempts": {"c1": NOW - HOUR}, "hold_nanos": 7, "tries": 1}
    return Told(**(KEY | usual | given))  # type: ignore[arg-type]


def life(state: State, **given: object) -> Submission:
    usual: dict[str, object] = {}
    if state is not State.PENDING:
        usual = {"tries": 1, "first_sent_at": NOW - HOUR}
    if state not in TERMINAL and state is not State.PENDING:
        usual["hold_nanos"] = 7
    if state in POLLED:
        usual |= {"task_id": "task_1", "accepted_at": NOW - HOUR}
    if state is State.UNKNOWN:
        usual["unresolved"] = True
    return Submission(state)._replace(**(usual | given))  # type: ignore[arg-type]


def merged(before: Submission | None, word: Told) -> Decision | None:
    return merge(before, word, now=NOW, policy=POLICY)


WORDS: dict[str, Told] = {
    "lost": told(),
    "cost nothing": told(settled={"c1"}),
    "refused": told(settled={"c1"}, rejected_at=NOW - HOUR),
    "refused after a loss": told(
        attempts={"c1": NOW - HOUR, "c2": NOW - 5}, settled={"c2"}, rejected_at=NOW
    ),
    "cleared": told(cleared_until=NOW),
    "task": told(task_id="task_1", accepted_at=NOW - HOUR, estimate=PRICE),
    "cost nothing, yet a task": told(settled={"c1"}, task_id="task_1"),
    "end": told(task_id="task_1", end=SUCCESS),
    "charged": told(charged=PAID),
    "written off": told(written_off=True),
    "written off, yet a task": told(written_off=True, task_id="task_1"),
}
TABLE: dict[str, dict[State | None, tuple[Event | None, State]]] = {
    "lost": {
        None: (E.LOSE, S.UNKNOWN),
        S.PENDING: (E.RECALL, S.UNKNOWN),
        S.SUBMITTING: (E.LOSE, S.UNKNOWN),
    },
    "cost nothing": {},
    "refused": {
        None: (E.REJECT, S.REJECTED),
        S.SUBMITTING: (E.REJECT, S.REJECTED),
    },
    "refused after a loss": {
        None: (E.LOSE, S.UNKNOWN),
        S.PENDING: (E.RECALL, S.UNKNOWN),
        S.SUBMITTING: (E.LOSE, S.UNKNOWN),
    },
    "cleared": {},
    "task": {
        None: (E.QUEUE, S.QUEUED),
        S.PENDING: (E.QUEUE, S.QUEUED),
        S.SUBMITTING: (E.QUEUE, S.QUEUED),
        S.UNKNOWN: (E.QUEUE, S.QUEUED),
    },
    "cost nothing, yet a task": dict.fromkeys(
        (None, S.PENDING, S.SUBMITTING, S.UNKNOWN), (E.QUEUE, S.QUEUED)
    ),
    "end": dict.fromkeys(
        (None, S.PENDING, S.SUBMITTING, S.UNKNOWN, *POLLED), (E.SUCCEED, S.SUCCEEDED)
    ),
    "charged": dict.fromkeys(
        (None, S.PENDING, S.SUBMITTING, S.UNKNOWN, *POLLED), (E.FAIL, S.FAILED)
    ),
    "written off": dict.fromkeys((None, S.PENDING, S.SUBMITTING, S.UNKNOWN), (E.FAIL, S.FAILED)),
    "written off, yet a task": dict.fromkeys(
        (None, S.PENDING, S.SUBMITTING, S.UNKNOWN), (E.QUEUE, S.QUEUED)
    ),
}


@pytest.mark.parametrize("state", [None, *sorted(SUBMISSION_STATES)])
@pytest.mark.parametrize("word", WORDS)
def test_each_word_of_a_journal_adds_to_what_does_not_know_it(
    word: str, state: State | None
) -> None:
    decision = merged(None if state is None else life(state), WORDS[word])
    assert (decision and (decision.event, decision.after.state)) == TABLE[word].get(state)


@pytest.mark.parametrize("state", [None, S.PENDING, S.SUBMITTING])
def test_what_may_have_been_sent_is_held_and_asked_under_its_first_time(
    state: State | None,
) -> None:
    word = told(attempts={"c2": NOW - 5, "c1": NOW - HOUR}, tries=2)
    decision = merged(None if state is None else life(state), word)
    assert decision is not None
    after = decision.after
    assert (after.hold_nanos, after.first_sent_at, after.due_at) == (7, NOW - HOUR, NOW)
    assert after.unresolved


def test_a_life_that_only_the_journal_knows_holds_the_provider_s_estimate() -> None:
    assert claimed(told(), NOW).hold_nanos == 7
    assert claimed(told(estimate=PRICE), NOW).hold_nanos == PRICE.nanos
    assert claimed(told(attempts={}, tries=0), NOW) == Submission(
        State.SUBMITTING, tries=1, first_sent_at=NOW, hold_nanos=7, due_at=NOW
    )


def test_a_known_task_is_asked_about_at_once_with_its_price_held() -> None:
    word = replace(WORDS["task"], request_id="req_1")
    decision = merged(None, word)
    assert decision is not None
    after = decision.after
    assert (after.task_id, after.request_id) == ("task_1", "req_1")
    assert (after.accepted_at, after.due_at) == (NOW - HOUR, NOW)
    assert (after.hold_nanos, after.estimate_text) == (PRICE.nanos, PRICE.text)


@pytest.mark.parametrize(
    ("end", "actual", "assumed", "code"),
    [
        (SUCCESS, PAID.nanos, None, None),
        (End(TaskStatus.SUCCEEDED, None, PRICE, ("u",)), None, PRICE.nanos, None),
        (End(TaskStatus.FAILED, None, parse_amount("0"), (), "nsfw", "no"), None, 0, "nsfw"),
        (End(TaskStatus.CANCELLED, PAID, None, ()), PAID.nanos, None, "cancelled"),
    ],
)
@pytest.mark.parametrize("state", [None, S.PENDING, S.UNKNOWN, S.PROCESSING])
def test_an_end_brings_its_cost_videos_and_reason(
    state: State | None, end: End, actual: int | None, assumed: int | None, code: str | None
) -> None:
    before = None if state is None else life(state)
    decision = merged(before, told(task_id="task_1", end=end, estimate=PRICE))
    assert decision is not None
    after = decision.after
    assert after.state.value == end.status.value
    assert (after.actual_nanos, after.assumed_nanos, after.hold_nanos) == (actual, assumed, 0)
    assert (after.error_code, after.task_id) == (code, "task_1")
    assert decision.videos == end.videos
    assert decision.price is None, "an old price is not news"


def test_without_its_row_a_purchase_can_be_found_but_not_asked_again() -> None:
    lost, found = merged(None, told()), merged(None, WORDS["task"])
    assert lost is not None
    assert found is not None
    assert without_row(lost).after == lost.after._replace(needs_person=NeedsPerson.ROW_MISSING)
    assert without_row(found) == found


CLAIMS = ["c1", "c2", "c3"]
TIMES = st.integers(NOW - 2 * HOUR, NOW)
COSTS = st.none() | st.just(PAID)
TASK_IDS = st.none() | st.just("task_1")
ENDS = st.sampled_from(
    [
        None,
        SUCCESS,
        End(TaskStatus.SUCCEEDED, None, PRICE, ("u",)),
        End(TaskStatus.SUCCEEDED, None, None, ()),
        End(TaskStatus.FAILED, None, None, (), "nsfw"),
        End(TaskStatus.CANCELLED, PAID, None, ()),
    ]
)
TOLDS = st.builds(
    Told,
    **{name: st.just(value) for name, value in KEY.items()},
    hold_nanos=st.sampled_from([0, 7]),
    tries=st.integers(0, 3),
    attempts=st.dictionaries(st.sampled_from(CLAIMS), TIMES),
    settled=st.sets(st.sampled_from(CLAIMS)),
    rejected_at=st.none() | TIMES,
    task_id=TASK_IDS,
    accepted_at=st.none() | TIMES,
    estimate=st.none() | st.just(PRICE),
    end=ENDS,
    charged=COSTS,
    written_off=st.booleans(),
    cleared_until=st.just(0) | TIMES,
)
LIVES = st.builds(
    lambda state, given: life(state, **given),
    st.sampled_from(sorted(SUBMISSION_STATES)),
    st.fixed_dictionaries(
        {},
        optional={
            "needs_person": st.sampled_from([None, *NeedsPerson]),
            "estimate_nanos": st.just(PRICE.nanos),
            "raw_status": st.sampled_from([None, "succeeded", "queued", "cancelled"]),
            "conflicts": st.integers(0, 4),
            "unresolved": st.booleans(),
        },
    ),
)


@given(before=LIVES, word=TOLDS)
def test_a_terminal_life_never_changes(before: Submission, word: Told) -> None:
    if before.state in TERMINAL:
        assert merged(before, word) is None


@given(before=st.none() | LIVES, word=TOLDS)
def test_merging_twice_is_merging_once(before: Submission | None, word: Told) -> None:
    once = merged(before, word)
    if once is not None:
        twice = merged(once.after, word)
        assert twice is None or twice.after == once.after


@given(before=st.none() | LIVES, word=TOLDS)
def test_what_may_have_been_charged_is_never_free_again(
    before: Submission | None, word: Told
) -> None:
    decision = merged(before, word)
    if decision is None:
        assert before is not None or not word.may_be_charged
        return
    after = decision.after
    assert after.state not in (State.PENDING, State.SUBMITTING)
    if word.may_be_charged or (before is not None and before.state is State.UNKNOWN):
        assert after.state is not State.REJECTED
        if after.state is State.UNKNOWN:
            assert after.unresolved


@given(before=LIVES, word=TOLDS)
def test_no_knowledge_is_taken_back(before: Submission, word: Told) -> None:
    decision = merged(before, word)
    if decision is None:
        return
    after = decision.after
    assert before.task_id in (None, after.task_id)
    if before.state in POLLED:
        assert after.state in TERMINAL, "a running task takes its end and nothing else"
    if before.state is State.UNKNOWN:
        assert after.state is not State.UNKNOWN, "nothing new is no decision"
    if before.first_sent_at is not None:
        assert after.first_sent_at is not None


@given(before=LIVES, word=TOLDS)
def test_a_hold_ends_only_with_the_purchase(before: Submission, word: Told) -> None:
    decision = merged(before, word)
    if decision is None or before.hold_nanos == 0:
        return
    after = decision.after
    if after.state in TERMINAL:
        assert after.hold_nanos == 0
        assert after.state is State.REJECTED or (
            after.actual_nanos is not None or after.assumed_nanos is not None
        )
    else:
        price = word.estimate.nanos if word.estimate else before.hold_nanos
        assert after.hold_nanos in (before.hold_nanos, price)


@given(before=LIVES, part=TOLDS, end=ENDS.filter(bool))
def test_less_knowledge_first_ends_where_all_of_it_ends(
    before: Submission, part: Told, end: End
) -> None:
    part = replace(part, end=None, charged=None, written_off=False, rejected_at=None)
    whole = replace(part, task_id="task_1", end=end)
    directly = merged(before, whole)
    first = merged(before, part)
    then = merged(first.after if first else before, whole)
    assert (then is None) == (directly is None)
    if then is not None and directly is not None:
        for name in ("state", "task_id", "hold_nanos", "actual_nanos", "error_code"):
            assert getattr(then.after, name) == getattr(directly.after, name)
        assert then.videos == directly.videos


def test_a_refusal_does_not_speak_for_an_earlier_try_that_only_the_database_knows() -> None:
    before = life(State.SUBMITTING, unresolved=True, tries=2)
    decision = merged(before, WORDS["refused"])
    assert decision is None or decision.after.state is State.UNKNOWN


def test_a_word_about_the_cost_keeps_the_task_that_is_known() -> None:
    decision = merged(None, replace(WORDS["task"], charged=PAID))
    assert decision is not None
    assert decision.after.task_id == "task_1"
