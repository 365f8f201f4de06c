"""The life of an item and of its submissions: states, events and legal moves, in one table.

`docs/lifecycle.md` draws this table; a test fails when the two drift apart.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """States of items; a submission takes the subset that `SUBMISSION_STATES` names."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    INVALID = "invalid"


class Event(StrEnum):
    """What moves an item from one state to the next."""

    CLAIM = "claim"
    RELEASE = "release"
    LOSE = "lose"
    REJECT = "reject"
    QUEUE = "queue"
    PROCESS = "process"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    REVIVE = "revive"
    RETRY = "retry"
    RECALL = "recall"
    REUSE = "reuse"


S, E = State, Event

TRANSITIONS: dict[tuple[State, Event], State] = {
    (S.PENDING, E.CLAIM): S.SUBMITTING,
    (S.PENDING, E.WITHDRAW): S.WITHDRAWN,
    # It takes the result of an identical row of another batch: nothing is sent.
    (S.PENDING, E.REUSE): S.SUCCEEDED,
    (S.WITHDRAWN, E.REVIVE): S.PENDING,
    # One try of a submission: it cost nothing, was refused as input, was accepted, or nobody knows.
    (S.SUBMITTING, E.RELEASE): S.PENDING,
    (S.SUBMITTING, E.LOSE): S.UNKNOWN,
    (S.SUBMITTING, E.REJECT): S.REJECTED,
    (S.SUBMITTING, E.QUEUE): S.QUEUED,
    (S.SUBMITTING, E.PROCESS): S.PROCESSING,
    # A replayed key answers with the task as it is by now, which may be its end.
    (S.SUBMITTING, E.SUCCEED): S.SUCCEEDED,
    (S.SUBMITTING, E.FAIL): S.FAILED,
    (S.SUBMITTING, E.CANCEL): S.CANCELLED,
    # The same key again, or good news that came late.
    (S.UNKNOWN, E.CLAIM): S.SUBMITTING,
    (S.UNKNOWN, E.QUEUE): S.QUEUED,
    (S.UNKNOWN, E.PROCESS): S.PROCESSING,
    (S.UNKNOWN, E.SUCCEED): S.SUCCEEDED,
    (S.UNKNOWN, E.FAIL): S.FAILED,
    (S.UNKNOWN, E.CANCEL): S.CANCELLED,
    # A person knows what the provider did not tell: nothing was charged.
    (S.UNKNOWN, E.RELEASE): S.PENDING,
    # A journal knows what a database has lost: it may have been sent.
    (S.PENDING, E.RECALL): S.UNKNOWN,
    (S.QUEUED, E.PROCESS): S.PROCESSING,
    (S.QUEUED, E.SUCCEED): S.SUCCEEDED,
    (S.QUEUED, E.FAIL): S.FAILED,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    # Providers put a task back into their queue; that is not an end.
    (S.PROCESSING, E.QUEUE): S.QUEUED,
    (S.PROCESSING, E.SUCCEED): S.SUCCEEDED,
    (S.PROCESSING, E.FAIL): S.FAILED,
    (S.PROCESSING, E.CANCEL): S.CANCELLED,
    # A new generation, after a decision: another purchase with a key of its own.
    # A person gave it up as charged for nothing, and the provider has it after all.
    (S.FAILED, E.SUCCEED): S.SUCCEEDED,
    (S.FAILED, E.RETRY): S.PENDING,
    (S.CANCELLED, E.RETRY): S.PENDING,
    (S.REJECTED, E.RETRY): S.PENDING,
}
"""(state, event) -> next state. What is not here does not happen."""

TERMINAL: frozenset[State] = frozenset(
    {S.SUCCEEDED, S.FAILED, S.CANCELLED, S.REJECTED, S.WITHDRAWN, S.INVALID}
)
OPEN: frozenset[State] = frozenset(State) - TERMINAL
POLLED: frozenset[State] = frozenset({S.QUEUED, S.PROCESSING})
IN_FLIGHT: frozenset[State] = frozenset({S.SUBMITTING, S.UNKNOWN, S.QUEUED, S.PROCESSING})
"""Money may have been spent and the end is not known: such a submission carries a hold."""
SUBMISSION_STATES: frozenset[State] = frozenset(State) - {S.WITHDRAWN, S.INVALID}


def advance(state: State, event: Event) -> State | None:
    """The state after `event`, or None where the table has no such move."""
    return TRANSITIONS.get((state, event))
