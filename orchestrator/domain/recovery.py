"""Merging what a journal remembers into what a database knows of a submission. Pure.

The merge is monotonic: it adds knowledge and never takes any back, so it may be done twice, in any
order, and beside what was learned meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.domain import verdict
from orchestrator.domain.money import Cost
from orchestrator.domain.outcome import Detail, Task, TaskStatus
from orchestrator.domain.states import TERMINAL, Event, State
from orchestrator.domain.submission import (
    TAKEN_OVER,
    Decision,
    NeedsPerson,
    Policy,
    Submission,
    observe,
)


@dataclass(frozen=True, slots=True)
class End:
    """A task's end as it was journalled."""

    status: TaskStatus
    actual: Cost | None
    assumed: Cost | None
    videos: tuple[str, ...]
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class TakenOver:
    """An earlier result that a row took instead of buying it."""

    task_id: str
    videos: tuple[str, ...]
    source: str


@dataclass(slots=True)
class Told:
    """What all the journals say of one submission, gathered in whatever order they are read."""

    idempotency_key: str
    row_key: str
    generation: int
    model: str
    digest: str
    price_class: str
    account: str
    """Whose key it was last sent with: one that cost nothing may be sent with another's."""
    account_at: int = field(default=0, compare=False)
    hold_nanos: int = 0
    tries: int = 0
    attempts: dict[str, int] = field(default_factory=dict)
    """Claim -> when its intent was written."""
    settled: set[str] = field(default_factory=set)
    """Claims whose own answer said that nothing was charged."""
    rejected_at: int | None = None
    task_id: str | None = None
    accepted_at: int | None = None
    request_id: str | None = None
    estimate: Cost | None = None
    adopted: bool = False
    """A person named the task."""
    end: End | None = None
    end_rank: tuple[bool, int] | None = None
    """What `end` was chosen by, where journals tell of several."""
    charged: Cost | None = None
    """What a person said was charged."""
    written_off: bool = False
    cleared_until: int = 0
    """A person said that nothing was charged by then."""
    taken_over: TakenOver | None = None
    """What it took over, unless it was bought nevertheless."""

    @property
    def first_sent_at(self) -> int | None:
        return min(self.attempts.values(), default=None)

    @property
    def may_be_charged(self) -> bool:
        """Whether some attempt is not known to have cost nothing."""
        return self.task_id is not None or any(
            claim not in self.settled and at > self.cleared_until
            for claim, at in self.attempts.items()
        )


def merge(before: Submission | None, told: Told, *, now: int, policy: Policy) -> Decision | None:
    """What the journal adds to a submission; None where it adds nothing.

    `before` None: the database has no such submission. Then the decision starts from a life that
    was just claimed, and where nothing can have been charged there is none to make.
    """
    if before is None:
        if told.taken_over is not None and told.end is None and not told.may_be_charged:
            return _taken_over(told.taken_over)
        if not told.may_be_charged and told.rejected_at is None and told.end is None:
            return None
        before = claimed(told, now)
    elif before.state in TERMINAL:
        return None
    return _decide(before, told, now, policy)


def _taken_over(taken: TakenOver) -> Decision:
    after = TAKEN_OVER._replace(task_id=taken.task_id, reused_from=taken.source)
    note = f"the journal knows that it took the result of {taken.source}"
    return Decision(after, Event.REUSE, note, videos=taken.videos)


def claimed(told: Told, now: int) -> Submission:
    """The life of a submission that only the journal knows, as it was when it was claimed."""
    return Submission(
        State.SUBMITTING,
        tries=max(1, told.tries),
        first_sent_at=told.first_sent_at or now,
        hold_nanos=told.estimate.nanos if told.estimate else told.hold_nanos,
        due_at=now,
    )


def _decide(before: Submission, told: Told, now: int, policy: Policy) -> Decision | None:
    held = before
    if before.state is State.PENDING:
        held = claimed(told, now)._replace(state=State.UNKNOWN, unresolved=True)
    if told.end is not None:
        return _ended(held, told, told.end, now, policy)
    if told.charged is not None:
        known = _unknown(held)._replace(
            task_id=held.task_id or told.task_id,
            accepted_at=held.accepted_at or told.accepted_at,
            request_id=held.request_id or told.request_id,
        )
        return verdict.charged(known, told.charged, now=now)
    if told.written_off and before.task_id is None and told.task_id is None:
        return verdict.accept_double_charge(_unknown(held), now=now)
    if told.task_id is not None:
        return None if before.task_id else _adopted(held, told, told.task_id, now)
    if before.state in (State.SUBMITTING, State.PENDING):
        return _unsettled(before, held, told, now)
    return None


def _unknown(life: Submission) -> Submission:
    return life._replace(state=State.UNKNOWN) if life.state is State.SUBMITTING else life


def _ended(held: Submission, told: Told, end: End, now: int, policy: Policy) -> Decision:
    task = Task(
        task_id=told.task_id or held.task_id or "",
        status=end.status,
        raw_status=end.status.value,
        request_id=told.request_id,
        cost_estimate=told.estimate,
        cost_actual=end.actual,
        videos=end.videos,
        error=Detail(code=end.error_code, message=end.error_message or ""),
    )
    known = held._replace(task_id=task.task_id, accepted_at=held.accepted_at or told.accepted_at)
    decision = observe(known, task, now=now, policy=policy, jitter=0)
    if end.actual is None and end.assumed is not None:
        after = decision.after._replace(assumed_nanos=end.assumed.nanos)
        decision = decision._replace(after=after)
    return decision._replace(price=None, note=f"the journal knows its end: {end.status}")


def _adopted(held: Submission, told: Told, task_id: str, now: int) -> Decision | None:
    decision = verdict.adopt(held, task_id, now=told.accepted_at or now)
    if decision is None:
        return None
    after = decision.after._replace(request_id=told.request_id, due_at=now)
    if told.estimate is not None:
        after = after._replace(
            estimate_nanos=told.estimate.nanos,
            estimate_text=told.estimate.text,
            hold_nanos=told.estimate.nanos,
        )
    return decision._replace(after=after, note=f"the journal knows it as task {task_id}")


def _unsettled(before: Submission, held: Submission, told: Told, now: int) -> Decision | None:
    """No task is known: refused as input, or sent with an answer that nobody has."""
    if told.may_be_charged:
        event = Event.RECALL if before.state is State.PENDING else Event.LOSE
        after = held._replace(state=State.UNKNOWN, unresolved=True, due_at=now)
        return Decision(after, event, "the journal knows that it may have been sent")
    refused = told.rejected_at is not None and not before.unresolved
    if refused and before.state is State.SUBMITTING:
        after = before._replace(
            state=State.REJECTED, hold_nanos=0, finished_at=now, error_code="rejected"
        )
        return Decision(after, Event.REJECT, "the journal knows that it was rejected")
    return None


def without_row(decision: Decision) -> Decision:
    """The spec no longer has the row, so its body is gone: it cannot be asked again, only found."""
    if decision.after.state is not State.UNKNOWN:
        return decision
    return decision._replace(after=decision.after._replace(needs_person=NeedsPerson.ROW_MISSING))
