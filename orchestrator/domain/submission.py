"""The life of one submission: what each outcome makes of it. Pure.

Every function takes the submission as it was read under its lease and returns the one to write,
with what follows for the rest of the world. Times are milliseconds, money is nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, assert_never

from orchestrator.domain import cadence, retry
from orchestrator.domain.cadence import Plan
from orchestrator.domain.money import Cost
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
from orchestrator.domain.sketch import Span
from orchestrator.domain.states import POLLED, TERMINAL, Event, State, advance

MAX_CONFLICTS = 5
"""409 answers in a row before a person is asked (about a minute of backoff)."""
READS_LAG = 60_000
"""A task may be unreadable this long after its submit."""
MAX_FORBIDDEN = 5
"""Times that one row is forbidden, the gate opened again each time, before the row is blamed."""
CLOCKS_APART = 600_000
"""A first sending that lies further ahead than this was written by a clock that was wrong."""
LOST_AFTER = 600_000
"""A task that answers 404 this long is a person's to look at."""
POISON_AFTER = 5
"""Deaths of its worker in a row, the last ones alone in its chunk, before a row is set aside."""


class NeedsPerson(StrEnum):
    """Codes beside an open state: only a person can go on from here."""

    LOST = "lost"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    OVERDUE = "overdue"
    KEY_EXPIRED = "key_expired"
    COST_UNREADABLE = "cost_unreadable"
    REFUSED_ALONE = "refused_alone"
    POISON = "poison"
    ROW_MISSING = "row_missing"


class Submission(NamedTuple):
    """The mutable part of a submission; each field is a column of the same name.

    A tuple, as every row has several in a row, each but for some fields the one before.
    """

    state: State
    tries: int = 0
    conflicts: int = 0
    lapses: int = 0
    gated_at: int | None = None
    gatings: int = 0
    polls: int = 0
    unresolved: bool = False
    first_sent_at: int | None = None
    accepted_at: int | None = None
    seen_at: int | None = None
    """When the provider was last asked and had not finished it."""
    due_at: int = 0
    missing_since: int | None = None
    finished_at: int | None = None
    hold_nanos: int = 0
    task_id: str | None = None
    request_id: str | None = None
    raw_status: str | None = None
    estimate_nanos: int | None = None
    estimate_text: str | None = None
    actual_nanos: int | None = None
    actual_text: str | None = None
    assumed_nanos: int | None = None
    needs_person: NeedsPerson | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_text: str | None = None
    reused_from: str | None = None
    """The batch and row whose result was taken over; such a one was never sent."""


TAKEN_OVER = Submission(State.SUCCEEDED, actual_nanos=0, actual_text="0")
"""The life of one that took an earlier result, but for its task and source.

It has no end of its own, so it says nothing of how long videos take.
"""


@dataclass(frozen=True, slots=True)
class GateOrder:
    """Close the account's gate: `seconds` None waits for a person, a probe or a new setting."""

    reason: GateReason
    detail: Detail
    seconds: float | None


class Decision(NamedTuple):
    """What to write, and what follows from it."""

    after: Submission
    event: Event | None
    note: str
    """One line for the history."""
    videos: tuple[str, ...] = ()
    gate: GateOrder | None = None
    price: Cost | None = None
    """What the provider asks for this price class, where it said so."""
    stop: str | None = None
    """Why the whole batch must stop sending, where it must."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decisions depend on; all in milliseconds."""

    deadline: int
    retention: int
    plan: Plan | None = None
    """When tasks of this price class are asked about, where enough of them are known."""

    @property
    def trusted(self) -> int:
        """How long after its first sending a key is re-sent: retention less an hour (or a part)."""
        return self.retention - min(3_600_000, self.retention // 24)


def claim(before: Submission, *, now: int, hold_nanos: int) -> Submission:
    """Money held, about to be sent. Raises ValueError where the state does not allow it."""
    state = advance(before.state, Event.CLAIM)
    if state is None:
        raise ValueError(f"a submission that is {before.state} cannot be claimed")
    return before._replace(
        state=state,
        tries=before.tries + 1,
        first_sent_at=before.first_sent_at or now,
        hold_nanos=hold_nanos,
    )


def key_trusted(submission: Submission, *, now: int, policy: Policy) -> bool:
    """Whether the provider may be relied on to remember the key if it was ever sent."""
    sent = submission.first_sent_at
    return sent is None or sent - CLOCKS_APART <= now < sent + policy.trusted


def expire_key(before: Submission) -> Decision:
    """An unknown submission whose key is too old to be re-sent safely."""
    return Decision(
        before._replace(needs_person=NeedsPerson.KEY_EXPIRED),
        event=None,
        note="the key is too old to be sent again",
    )


def lapse(before: Submission, *, now: int) -> Decision:
    """The lease ran out, or its owner died, between claim and record."""
    detail = Detail(message="the worker was lost")
    decision = _lose(before, Lost.LEASE_LAPSED, detail, due_at=now)
    lapses = before.lapses + 1
    person = NeedsPerson.POISON if lapses >= POISON_AFTER else before.needs_person
    return decision._replace(after=decision.after._replace(lapses=lapses, needs_person=person))


def lapse_poll(before: Submission, *, now: int) -> Decision:
    """The worker died while it asked about this task; asked again, alone, unless it keeps on."""
    lapses = before.lapses + 1
    after = before._replace(lapses=lapses, due_at=now)
    if lapses >= POISON_AFTER:
        after = after._replace(needs_person=NeedsPerson.POISON, due_at=now + cadence.SPARSE)
    return Decision(after, None, "the worker was lost while it asked")


def after_submit(  # noqa: PLR0911 one return for each kind of outcome
    before: Submission,
    outcome: SubmitOutcome | NotSent,
    *,
    now: int,
    policy: Policy,
    jitter: float,
    others_passed: bool,
) -> Decision:
    """What one answer to a POST makes of its submission.

    `others_passed`: the account bought something else since this submission last met a gate.
    """
    before = before._replace(lapses=0) if before.lapses else before
    match outcome:
        case Accepted(task):
            accepted = before._replace(
                unresolved=False,
                accepted_at=before.accepted_at or now,
                seen_at=now,
                task_id=task.task_id,
                conflicts=0,
                gated_at=None,
                gatings=0,
                error_code=None,
                error_message=None,
                error_text=None,
            )
            return observe(accepted, task, now=now, policy=policy, jitter=jitter)
        case Rejected(detail):
            if before.unresolved:
                return _costless(before, "rejected", detail, now=now, jitter=jitter)
            return Decision(
                _explained(before, "rejected", detail)._replace(
                    state=State.REJECTED,
                    hold_nanos=0,
                    finished_at=now,
                ),
                Event.REJECT,
                f"rejected: {detail.message}",
            )
        case NothingCharged(detail, gate, retry_after):
            wait = retry_after or retry.backoff(before.tries, jitter)
            order = GateOrder(gate, detail, wait) if gate else None
            code = gate.value if gate else "nothing_charged"
            return _costless(before, code, detail, now=now, jitter=jitter, gate=order)
        case NotSent(reason):
            detail = Detail(message=reason)
            unsent = before._replace(tries=before.tries - 1)
            return _costless(unsent, "not_sent", detail, now=now, jitter=0)
        case Gated(reason, detail):
            return _gated(before, reason, detail, now, jitter, others_passed)
        case Ambiguous(lost, detail, retry_after):
            wait = retry_after or retry.backoff(before.tries, jitter)
            decision = _lose(before, lost, detail, due_at=now + round(wait * 1000))
            if lost is Lost.UNAVAILABLE and retry_after:
                order = GateOrder(GateReason.UNAVAILABLE, detail, retry_after)
                return decision._replace(gate=order)
            return decision
        case _:
            assert_never(outcome)


def after_poll(
    before: Submission, outcome: PollOutcome, *, now: int, policy: Policy, jitter: float
) -> Decision:
    """What one answer to a GET makes of its submission: never a failed item without the word."""
    if before.state in TERMINAL:
        return Decision(before, None, "asked about after its end, which is final")
    polled = before._replace(polls=before.polls + 1, lapses=0)
    match outcome:
        case Accepted(task):
            seen = polled._replace(seen_at=now)
            return observe(seen, task, now=now, policy=policy, jitter=jitter)
        case NotFound():
            return _missing(polled, now=now, policy=policy, jitter=jitter)
        case AskLater(detail, gate, retry_after):
            wait = retry_after or retry.backoff(min(polled.polls, 5), jitter)
            order = GateOrder(gate, detail, wait) if gate and retry_after else None
            later = polled._replace(due_at=now + round(wait * 1000))
            return Decision(later, None, "no answer to a poll", gate=order)
        case Gated(reason, detail):
            later = polled._replace(due_at=now + cadence.SPARSE)
            return Decision(later, None, "a gate", gate=GateOrder(reason, detail, None))
        case _:
            assert_never(outcome)


def observe(before: Submission, task: Task, *, now: int, policy: Policy, jitter: float) -> Decision:
    """Record what the provider says of a task, wherever it said it."""
    event = _event_of(before.state, task)
    state = advance(before.state, event) if event else None
    unreadable = task.cost_problem is not None
    seen = before._replace(
        state=before.state if state is None or unreadable else state,
        raw_status=task.raw_status,
        request_id=task.request_id or before.request_id,
        missing_since=None,
        needs_person=None,
        **_costs(task),
    )
    if unreadable:
        return _unreadable(before, seen, task, now)
    applied = event if state else None
    if seen.state in TERMINAL:
        return Decision(
            _settle(seen, task, now),
            applied,
            f"{task.raw_status}",
            videos=task.videos,
            price=task.cost_estimate,
        )
    return Decision(
        _await(seen, now=now, policy=policy, jitter=jitter),
        applied,
        task.raw_status,
        videos=task.videos,
        price=task.cost_estimate,
    )


def span_of(before: Submission, after: Submission) -> Span | None:
    """Between which ages the task ended, where a poll found that it had."""
    begin, end = before.accepted_at, after.finished_at
    if before.state not in POLLED or after.state not in TERMINAL or begin is None or end is None:
        return None
    low = max(0, (before.seen_at or begin) - begin)
    return Span(low, max(end - begin, low))


def _event_of(state: State, task: Task) -> Event | None:
    match task.status:
        case TaskStatus.QUEUED:
            return Event.QUEUE
        case TaskStatus.PROCESSING:
            return Event.PROCESS
        case TaskStatus.SUCCEEDED:
            return Event.SUCCEED
        case TaskStatus.FAILED:
            return Event.FAIL
        case TaskStatus.CANCELLED:
            return Event.CANCEL
        case None:
            # A word that is none of the five: still running.
            return Event.PROCESS if state in (State.SUBMITTING, State.UNKNOWN) else None
        case _:
            assert_never(task.status)


def _costs(task: Task) -> dict[str, Any]:
    """What the provider's estimate changes: the hold becomes it."""
    estimate = task.cost_estimate
    if estimate is None:
        return {}
    known = {"estimate_nanos": estimate.nanos, "estimate_text": estimate.text}
    return known | {"hold_nanos": estimate.nanos}


def _settle(before: Submission, task: Task, now: int) -> Submission:
    """The end: the hold becomes the actual cost, or what is assumed where none was named."""
    settled = before._replace(hold_nanos=0, due_at=0, finished_at=now)
    if task.status is TaskStatus.SUCCEEDED and not task.videos:
        settled = settled._replace(error_code="no_output", error_message="no video in the result")
    if task.status is not TaskStatus.SUCCEEDED:
        detail = task.error or Detail()
        code = detail.code or str(task.status)
        settled = _explained(settled, code, detail)
    if (actual := task.cost_actual) is not None:
        return settled._replace(actual_nanos=actual.nanos, actual_text=actual.text)
    if task.status is TaskStatus.SUCCEEDED:
        known = before.estimate_nanos
        return settled._replace(assumed_nanos=before.hold_nanos if known is None else known)
    return settled._replace(assumed_nanos=0)


def _await(before: Submission, *, now: int, policy: Policy, jitter: float) -> Submission:
    """Still running: when to ask again, and whether it has taken too long."""
    age = now - (before.accepted_at or now)
    if age > policy.deadline:
        return before._replace(needs_person=NeedsPerson.OVERDUE, due_at=now + cadence.SPARSE)
    return before._replace(due_at=now + cadence.next_poll(age, jitter, policy.plan))


def _missing(before: Submission, *, now: int, policy: Policy, jitter: float) -> Decision:
    since = before.missing_since or now
    missing = before._replace(missing_since=since)
    if now - (before.accepted_at or now) < READS_LAG:
        due = now + cadence.next_poll(0, jitter)
        return Decision(missing._replace(due_at=due), None, "not readable yet")
    person = NeedsPerson.LOST if now - since >= LOST_AFTER else before.needs_person
    if now - (before.accepted_at or now) > policy.deadline:
        person = NeedsPerson.LOST
    sparse = missing._replace(due_at=now + cadence.SPARSE, needs_person=person)
    return Decision(sparse, None, "the provider does not know the task")


def _unreadable(before: Submission, seen: Submission, task: Task, now: int) -> Decision:
    """A cost nobody can read: the state and the hold stay, the batch stops, a person looks."""
    problem = task.cost_problem or ""
    event = None
    state = before.state
    if before.state in (State.SUBMITTING, State.UNKNOWN):
        # The task exists whatever its price: it must not be sent again.
        event = Event.PROCESS
        state = State.PROCESSING
    after = seen._replace(
        state=state,
        hold_nanos=max(before.hold_nanos, seen.hold_nanos),
        needs_person=NeedsPerson.COST_UNREADABLE,
        error_code=NeedsPerson.COST_UNREADABLE.value,
        error_message=problem,
        due_at=now + cadence.SPARSE,
    )
    note = f"unreadable cost: {problem}"
    return Decision(after, event, note, videos=task.videos, stop=note)


def _lose(before: Submission, lost: Lost, detail: Detail, *, due_at: int) -> Decision:
    conflicts = before.conflicts + 1 if lost is Lost.CONFLICT else 0
    person = NeedsPerson.IDEMPOTENCY_CONFLICT if conflicts >= MAX_CONFLICTS else before.needs_person
    after = _explained(before, lost.value, detail)._replace(
        state=State.UNKNOWN,
        unresolved=True,
        conflicts=conflicts,
        needs_person=person,
        due_at=due_at,
    )
    return Decision(after, Event.LOSE, f"no certain answer ({lost}): {detail.message}")


def _costless(
    before: Submission,
    code: str,
    detail: Detail,
    *,
    now: int,
    jitter: float,
    gate: GateOrder | None = None,
) -> Decision:
    """A try that cost nothing speaks for itself only: an earlier one may have been charged."""
    wait = retry.backoff(before.tries, jitter) if code != "not_sent" else 0.0
    due = now + round(wait * 1000)
    explained = _explained(before, code, detail)
    note = f"nothing charged by this try ({code}): {detail.message}"
    if before.unresolved:
        after = explained._replace(state=State.UNKNOWN, due_at=due)
        return Decision(after, Event.LOSE, note, gate=gate)
    after = explained._replace(state=State.PENDING, hold_nanos=0, first_sent_at=None, due_at=due)
    return Decision(after, Event.RELEASE, note, gate=gate)


def _gated(
    before: Submission,
    reason: GateReason,
    detail: Detail,
    now: int,
    jitter: float,
    others_passed: bool,
) -> Decision:
    """Close the gate; or, where others pass and this one is refused again, blame the row."""
    counted = before._replace(gated_at=now, gatings=before.gatings + 1)
    # Others may all be done: then only the row itself can tell that it is the row.
    stubborn = reason is GateReason.FORBIDDEN and counted.gatings >= MAX_FORBIDDEN
    if stubborn or (before.gated_at is not None and others_passed):
        decision = _costless(counted, reason.value, detail, now=now, jitter=jitter)
        alone = decision.after._replace(needs_person=NeedsPerson.REFUSED_ALONE)
        return decision._replace(after=alone)
    order = GateOrder(reason, detail, None)
    return _costless(counted, reason.value, detail, now=now, jitter=0, gate=order)


def _explained(before: Submission, code: str, detail: Detail) -> Submission:
    return before._replace(
        error_code=code,
        error_message=detail.message or None,
        error_text=detail.text or None,
        request_id=detail.request_id or before.request_id,
    )
