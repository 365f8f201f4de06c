"""What one HTTP exchange with the provider meant, decided once, at the edge.

A submit answers with one of `Accepted | Rejected | NothingCharged | Gated | Ambiguous`; a poll with
one of `Accepted | NotFound | AskLater | Gated`. The rules are those of docs/provider.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.money import Cost


class TaskStatus(StrEnum):
    """The provider's five words (API document, "Queue and polling")."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class GateReason(StrEnum):
    """Why nothing more is sent for an account until something changes."""

    NO_API_KEY = "no_api_key"
    UNAUTHORIZED = "unauthorized"
    PAYMENT_REQUIRED = "payment_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    UNEXPECTED = "unexpected_status"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    UNREACHABLE = "unreachable"
    FAILING = "failing"
    DATABASE_WENT_BACK = "database_went_back"


class Lost(StrEnum):
    """Why nobody can say whether a try was charged."""

    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    UNREADABLE = "unreadable"
    LEASE_LAPSED = "lease_lapsed"


@dataclass(frozen=True, slots=True)
class Detail:
    """What the provider said beside its status line.

    `text` is at most 2 KB of the body; `code` and `message` are read leniently from it.
    """

    status: int | None = None
    code: str | None = None
    message: str = ""
    request_id: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the provider described it.

    `status` is None for a word that is none of the five: still running, kept in `raw_status`.
    `cost_problem` says why a cost field could not be read; then that field's cost is None.
    """

    task_id: str
    status: TaskStatus | None
    raw_status: str
    request_id: str | None = None
    cost_estimate: Cost | None = None
    cost_actual: Cost | None = None
    cost_problem: str | None = None
    videos: tuple[str, ...] = ()
    error: Detail | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the task, perhaps finished by now."""

    task: Task


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refused as input; nothing charged by this try."""

    detail: Detail


@dataclass(frozen=True, slots=True)
class NothingCharged:
    """Certainly not charged by this try, and not the row's fault: send again later.

    `gate` closes the road for the whole fleet for `retry_after` seconds (None: a backoff decides).
    """

    detail: Detail
    gate: GateReason | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Gated:
    """The account's or the installation's fault: nothing charged, nothing more is sent."""

    reason: GateReason
    detail: Detail


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing left this process: the lease, a gate or a stopped batch came between."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Bytes may have left and no readable answer came back: perhaps charged."""

    reason: Lost
    detail: Detail
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """404 on a poll."""

    detail: Detail


@dataclass(frozen=True, slots=True)
class AskLater:
    """A poll that brought no news; `gate` as in `NothingCharged`."""

    detail: Detail
    gate: GateReason | None = None
    retry_after: float | None = None


SubmitOutcome = Accepted | Rejected | NothingCharged | Gated | Ambiguous
PollOutcome = Accepted | NotFound | AskLater | Gated
