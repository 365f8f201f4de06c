"""Comparing what is recorded of a submission with what the provider says now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from urllib.parse import urlsplit

from orchestrator.domain.money import to_usd
from orchestrator.domain.outcome import Accepted, NotFound, PollOutcome, Task, TaskStatus
from orchestrator.domain.states import TERMINAL, Event, State
from orchestrator.domain.submission import Decision, Submission
from orchestrator.domain.verdict import SETTLED


class Kind(StrEnum):
    """What a difference is."""

    MISSING = "missing"
    DRIFTED = "drifted"
    ASSUMED = "assumed"
    ORPHANED = "orphaned"
    UNRESOLVED = "unresolved"
    UNANSWERED = "unanswered"


OPEN_QUESTIONS = frozenset({Kind.UNRESOLVED, Kind.UNANSWERED})
"""Not differences: nothing is known to compare with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs: which field, what is recorded, what the provider says."""

    kind: Kind
    field: str
    ours: str | None
    theirs: str | None


def compare(life: Submission, videos: Sequence[str], outcome: PollOutcome) -> list[Finding]:
    """Everything that differs between a submission with a task and the provider's answer.

    A task that is still open here may be further there: it is not asked about all the time, and
    that is no difference.
    """
    match outcome:
        case Accepted(task):
            return list(_task(life, videos, task)) if life.state in TERMINAL else []
        case NotFound():
            return [Finding(Kind.MISSING, "task_id", life.task_id, None)]
        case _:
            return [Finding(Kind.UNANSWERED, "task_id", life.task_id, outcome.detail.message)]


def _task(life: Submission, videos: Sequence[str], task: Task) -> Iterator[Finding]:
    if task.raw_status != life.state:
        yield Finding(Kind.DRIFTED, "state", str(life.state), task.raw_status)
    if task.cost_problem:
        yield Finding(Kind.DRIFTED, "cost_actual", _ours(life), task.cost_problem)
    elif life.actual_nanos is None:
        theirs = task.cost_actual.text if task.cost_actual else None
        yield Finding(Kind.ASSUMED, "cost_actual", _assumed(life), theirs)
    elif task.cost_actual is None or Decimal(task.cost_actual.text) != Decimal(_ours(life) or "0"):
        theirs = task.cost_actual.text if task.cost_actual else None
        yield Finding(Kind.DRIFTED, "cost_actual", _ours(life), theirs)
    if life.state is State.SUCCEEDED and _addresses(videos) != _addresses(task.videos):
        yield Finding(Kind.DRIFTED, "video_urls", " ".join(videos), " ".join(task.videos))


def _ours(life: Submission) -> str | None:
    return life.actual_text


def _assumed(life: Submission) -> str | None:
    return None if life.assumed_nanos is None else to_usd(life.assumed_nanos)


def _addresses(videos: Sequence[str]) -> list[tuple[str, str]]:
    """URLs without what is signed into them anew each time."""
    return [(parts.netloc, parts.path) for parts in map(urlsplit, videos)]


def learn(life: Submission, outcome: PollOutcome, *, now: int) -> Decision | None:
    """What may be taken over without a person: a cost that was assumed, a success given up on."""
    if not isinstance(outcome, Accepted) or life.state not in TERMINAL:
        return None
    task = outcome.task
    cost = task.cost_actual
    if life.error_code == SETTLED and task.status is TaskStatus.SUCCEEDED and task.videos:
        after = life._replace(
            state=State.SUCCEEDED,
            raw_status=task.raw_status,
            finished_at=now,
            error_code=None,
            error_message=None,
            actual_nanos=cost.nanos if cost else life.actual_nanos,
            actual_text=cost.text if cost else life.actual_text,
            assumed_nanos=None if cost else life.assumed_nanos,
        )
        note = "the provider has it after all"
        return Decision(after, Event.SUCCEED, note, videos=task.videos)
    if cost is not None and life.actual_nanos is None:
        after = life._replace(actual_nanos=cost.nanos, actual_text=cost.text, assumed_nanos=None)
        return Decision(after, None, f"the cost that was assumed is {cost.text} USD")
    return None
