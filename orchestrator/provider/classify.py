"""What an answer, or the lack of one, means: pure functions over one table of statuses and one of
exceptions. The rules and their reasons are in docs/provider.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

import httpx

from orchestrator.domain.money import AmountError, Cost, parse_amount
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
    PollOutcome,
    Rejected,
    SubmitOutcome,
    Task,
    TaskStatus,
)
from orchestrator.provider.wire import UnreadableError, WireError, WireTask, clean, parse_object

MAX_DETAIL = 2048
"""Bytes of a body that are kept to be shown."""
MAX_RETRY_AFTER = 3600.0
"""Seconds of a Retry-After that are believed; after that one request asks again."""
_MAX_MESSAGE = 500
_MAX_COST = 64
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)

FAILURES: dict[type[Exception], GateReason | Lost] = {
    # Before any byte left: nothing can have been charged.
    httpx.ConnectError: GateReason.UNREACHABLE,
    httpx.ConnectTimeout: GateReason.UNREACHABLE,
    httpx.PoolTimeout: GateReason.UNREACHABLE,
    httpx.ProxyError: GateReason.UNREACHABLE,
    httpx.UnsupportedProtocol: GateReason.UNREACHABLE,
    # From here on bytes may have left.
    httpx.ReadTimeout: Lost.TIMEOUT,
    httpx.WriteTimeout: Lost.TIMEOUT,
    httpx.TimeoutException: Lost.TIMEOUT,
    TimeoutError: Lost.TIMEOUT,
    httpx.ReadError: Lost.CONNECTION,
    httpx.WriteError: Lost.CONNECTION,
    httpx.CloseError: Lost.CONNECTION,
    httpx.NetworkError: Lost.CONNECTION,
    httpx.LocalProtocolError: Lost.CONNECTION,
    httpx.RemoteProtocolError: Lost.UNREADABLE,
    httpx.ProtocolError: Lost.UNREADABLE,
    httpx.DecodingError: Lost.UNREADABLE,
    httpx.TooManyRedirects: Lost.UNREADABLE,
    httpx.TransportError: Lost.CONNECTION,
    httpx.RequestError: Lost.CONNECTION,
}
"""Every failure an exchange can end in; orchestrator.provider.transport sees to it that the
connection classes are told truthfully. A class without an entry is a bug here and propagates."""

_REJECTED = frozenset({400, 413, 415, 422})
_GATES: dict[int, GateReason] = {
    401: GateReason.UNAUTHORIZED,
    402: GateReason.PAYMENT_REQUIRED,
    403: GateReason.FORBIDDEN,
}
_RETRIED = frozenset({408, 425})
_OF_ONE_TASK = frozenset({400, 409, 410, 413, 415, 422})
"""Statuses that, on a poll, speak of the task that was asked for, not of the account."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: header names in lower case; `body` as far as it was read.

    `broken` says why the body ended early; `now` (seconds since the epoch) is when it came.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: Lost | None = None
    now: float = 0.0


def of_submit(answer: Answer) -> SubmitOutcome:  # noqa: PLR0911 - one return per row of the table
    """What the answer to POST /tasks means."""
    status = answer.status
    if 200 <= status < 300:
        task = _task(answer)
        if isinstance(task, Task):
            return Accepted(task)
        return Ambiguous(answer.broken or Lost.UNREADABLE, _detail(answer, task))
    detail = _detail(answer)
    if status in _REJECTED:
        return Rejected(detail)
    if status == 409:
        return Ambiguous(Lost.CONFLICT, detail)
    if status == 404:
        return Gated(GateReason.NOT_FOUND, detail)
    if status == 429:
        return NothingCharged(detail, GateReason.RATE_LIMITED, retry_after(answer))
    if status == 503:
        return Ambiguous(Lost.UNAVAILABLE, detail, retry_after(answer))
    if status in _RETRIED or 500 <= status < 600:
        return Ambiguous(Lost.SERVER_ERROR, detail, retry_after(answer))
    if 300 <= status < 500:
        return Gated(_GATES.get(status, GateReason.UNEXPECTED), detail)
    return Ambiguous(Lost.UNREADABLE, detail)


def of_poll(answer: Answer, task_id: str) -> PollOutcome:
    """What the answer to GET /tasks/{task_id} means. Never anything about money without a task."""
    status = answer.status
    if 200 <= status < 300:
        task = _task(answer, asked=task_id)
        return Accepted(task) if isinstance(task, Task) else AskLater(_detail(answer, task))
    detail = _detail(answer)
    if status == 404:
        return NotFound(detail)
    if status == 429:
        return AskLater(detail, GateReason.RATE_LIMITED, retry_after(answer))
    if status == 503:
        return AskLater(detail, GateReason.UNAVAILABLE, retry_after(answer))
    if status in _RETRIED or status in _OF_ONE_TASK or not 300 <= status < 500:
        return AskLater(detail, None, retry_after(answer))
    return Gated(_GATES.get(status, GateReason.UNEXPECTED), detail)


def of_submit_failure(error: Exception) -> SubmitOutcome:
    """What a POST that brought no answer means. Raises KeyError for a foreign exception."""
    detail = Detail(message=_sentence(error))
    match failure(error):
        case GateReason() as gate:
            return NothingCharged(detail, gate)
        case Lost() as lost:
            return Ambiguous(lost, detail)


def of_poll_failure(error: Exception) -> PollOutcome:
    """What a GET that brought no answer means. Raises KeyError for a foreign exception."""
    detail = Detail(message=_sentence(error))
    match failure(error):
        case GateReason() as gate:
            return AskLater(detail, gate)
        case Lost():
            return AskLater(detail)


def failure(error: Exception) -> GateReason | Lost:
    """The table's entry for the nearest class of `error`. Raises KeyError where there is none."""
    for kind in type(error).__mro__:
        if kind in FAILURES:
            return FAILURES[kind]
    raise KeyError(type(error).__name__)


def retry_after(answer: Answer) -> float | None:
    """Seconds to wait, from Retry-After in seconds or as an HTTP date; None where it says nothing.

    A date counts from the answer's own Date, so that two clocks that differ do no harm; without
    one from `answer.now`.
    """
    text = answer.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        until = _http_date(text)
        if until is None:
            return None
        seconds = until - (_http_date(answer.headers.get("date", "")) or answer.now)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _http_date(text: str) -> float | None:
    try:
        date: datetime = parsedate_to_datetime(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _task(answer: Answer, asked: str | None = None) -> Task | str:
    """The task a 2xx describes, or in a few words why it describes none."""
    try:
        # A JSON object says itself where it ends: whole, it counts even if the answer broke off.
        fields = parse_object(answer.body)
    except UnreadableError as error:
        return "the answer ended early" if answer.broken else str(error)
    wire = WireTask.model_validate(fields)
    if asked is None and wire.task_id is None:
        return "the answer has no task_id"
    if asked is not None and fields.get("task_id") is not None and wire.task_id != asked:
        return "the answer is about another task"
    if asked is not None and not wire.status:
        return "the answer has no status"
    return _read_task(wire, fields, answer, asked or wire.task_id or "")


def _read_task(wire: WireTask, fields: dict[str, object], answer: Answer, task_id: str) -> Task:
    status = _STATUSES.get(wire.status)
    estimate, estimate_problem = _cost("cost_estimate", wire.cost_estimate)
    actual, actual_problem = _cost("cost_actual", wire.cost_actual)
    problems = [problem for problem in (estimate_problem, actual_problem) if problem]
    return Task(
        task_id=task_id,
        status=status,
        raw_status=wire.status,
        request_id=wire.request_id or _request_id(answer),
        cost_estimate=estimate,
        cost_actual=actual,
        cost_problem="; ".join(problems) or None,
        videos=wire.output.urls() if wire.output else (),
        error=_reason(fields, answer) if status in _UNHAPPY else None,
    )


_STATUSES = {status.value: status for status in TaskStatus}
_UNHAPPY = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})


def _reason(fields: dict[str, object], answer: Answer) -> Detail | None:
    """Why a task failed, where its body says so."""
    error = WireError.model_validate(fields)
    sentence, code = error.sentence(), error.code_word()
    if not sentence and not code:
        return None
    return Detail(
        status=answer.status,
        code=code,
        message=clean(sentence, _MAX_MESSAGE),
        request_id=error.any_request_id() or _request_id(answer),
        text=clean(answer.body.decode("utf-8", "replace"), MAX_DETAIL),
    )


def _cost(name: str, value: object) -> tuple[Cost | None, str | None]:
    """An amount, or why there is none although the field is there."""
    if value is None:
        return None, None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None, f"{name} is a {type(value).__name__}, not an amount"
    text = str(value)
    if len(text) > _MAX_COST:
        return None, f"{name} has {len(text)} characters"
    try:
        return parse_amount(value), None
    except AmountError as error:
        return None, clean(f"{name}: {error}", _MAX_MESSAGE)


def _detail(answer: Answer, problem: str | None = None) -> Detail:
    """What the answer says beside its status; `problem` is what is wrong with a 2xx."""
    try:
        error = WireError.model_validate(parse_object(answer.body))
    except UnreadableError:
        error = WireError()
    text = clean(answer.body[: 2 * MAX_DETAIL].decode("utf-8", "replace"), MAX_DETAIL)
    message = problem or error.sentence() or _plain(text) or f"HTTP {answer.status}"
    return Detail(
        status=answer.status,
        code=error.code_word(),
        message=clean(message, _MAX_MESSAGE),
        request_id=error.any_request_id() or _request_id(answer),
        text=text,
    )


def _plain(text: str) -> str:
    """The first line of a body that is a sentence, not markup or JSON."""
    line = text.strip().partition("\n")[0].strip()
    return "" if line[:1] in ("<", "{", "[") else line


def _request_id(answer: Answer) -> str | None:
    found = answer.headers.get("x-request-id", "").strip()
    return clean(found, 200) if found and found.isprintable() else None


def _sentence(error: Exception) -> str:
    """What went wrong, in the library's words; they name host and port, never a header."""
    return clean(str(error) or type(error).__name__, _MAX_MESSAGE)
