"""What a person may decide of a submission that nobody else can settle. Pure.

Each function returns the Decision to write, or None where the verdict does not fit its state.
"""

from __future__ import annotations

from orchestrator.domain.money import Cost
from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.states import POLLED, Event, State
from orchestrator.domain.submission import Decision, NeedsPerson, Policy, Submission, key_trusted

SETTLED = "settled_by_person"
_NEVER_RESENT = (NeedsPerson.ROW_MISSING, NeedsPerson.KEY_EXPIRED)


def ask_again(before: Submission, *, now: int, policy: Policy) -> Decision | None:
    """Send the same key once more; None where it is too old, or the provider has the task."""
    waits = before.state in (State.UNKNOWN, State.PENDING)
    if not waits or before.needs_person in _NEVER_RESENT:
        return None
    if not key_trusted(before, now=now, policy=policy):
        return None
    after = before._replace(
        needs_person=None, conflicts=0, lapses=0, gated_at=None, gatings=0, due_at=now
    )
    return Decision(after, None, "a person has it asked again under the same key")


def adopt(before: Submission, task_id: str, *, now: int) -> Decision | None:
    """The provider has it, as this task: ask how it is doing."""
    if before.state not in (State.UNKNOWN, State.SUBMITTING, *POLLED):
        return None
    polled = before.state in POLLED
    after = before._replace(
        state=before.state if polled else State.QUEUED,
        task_id=task_id,
        unresolved=False,
        accepted_at=now,
        missing_since=None,
        needs_person=None,
        lapses=0,
        due_at=now,
        error_code=None,
        error_message=None,
        error_text=None,
    )
    return Decision(after, None if polled else Event.QUEUE, f"adopted as task {task_id}")


def not_charged(before: Submission, *, now: int) -> Decision | None:
    """No money was taken. What was never seen may be sent anew; a task that was is over."""
    if before.state is State.UNKNOWN:
        after = before._replace(
            state=State.PENDING,
            unresolved=False,
            first_sent_at=None,
            hold_nanos=0,
            conflicts=0,
            lapses=0,
            needs_person=None,
            due_at=now,
        )
        return Decision(after, Event.RELEASE, "a person says that nothing was charged")
    if before.state in POLLED:
        return _end(before, now, "a person says that nothing was charged", assumed=0)
    return None


def charged(before: Submission, cost: Cost, *, now: int) -> Decision | None:
    """This much was taken. A success whose cost could not be read stays one."""
    note = f"a person says that {cost.text} USD was charged"
    return _end(before, now, note, actual=cost)


def accept_double_charge(before: Submission, *, now: int) -> Decision | None:
    """Another purchase may follow. A task that is known stays asked about, with its hold.

    One without a task cannot be asked about: its hold is assumed to have been charged.
    """
    if before.state in POLLED:
        return Decision(before, None, "another purchase was accepted beside it")
    if before.state is not State.UNKNOWN:
        return None
    return _end(before, now, "taken as charged; another purchase follows", assumed=_price(before))


def _price(before: Submission) -> int:
    return before.hold_nanos if before.estimate_nanos is None else before.estimate_nanos


def _end(
    before: Submission,
    now: int,
    note: str,
    *,
    actual: Cost | None = None,
    assumed: int | None = None,
) -> Decision | None:
    if before.state not in (State.UNKNOWN, *POLLED):
        return None
    state, event = State.FAILED, Event.FAIL
    if before.raw_status == TaskStatus.SUCCEEDED and before.state in POLLED:
        state, event = State.SUCCEEDED, Event.SUCCEED
    if before.raw_status == TaskStatus.CANCELLED and before.state in POLLED:
        state, event = State.CANCELLED, Event.CANCEL
    succeeded = state is State.SUCCEEDED
    after = before._replace(
        state=state,
        unresolved=False,
        hold_nanos=0,
        needs_person=None,
        due_at=0,
        finished_at=now,
        actual_nanos=actual.nanos if actual else None,
        actual_text=actual.text if actual else None,
        assumed_nanos=assumed,
        error_code=None if succeeded else SETTLED,
        error_message=None if succeeded else note,
    )
    return Decision(after, event, note)
