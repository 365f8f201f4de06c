"""What every answer to a poll means, and the calls around it, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from orchestrator.domain.money import Cost
from orchestrator.domain.outcome import (
    Accepted,
    AskLater,
    Gated,
    GateReason,
    NotFound,
    PollOutcome,
    TaskStatus,
)
from orchestrator.errors import ConfigError, ServiceError
from orchestrator.provider import ProviderClient, Timeouts
from tests.support.raw_server import Answer, RawServer, close, hang, http, raw_server, reset, then

KEY = "mv_live_secret0123456789"
TASK = {"request_id": "req_1", "task_id": "task_1", "status": "processing"}
QUICK = Timeouts(connect=0.4, total=0.4)
Result = TypeVar("Result")
Call = Callable[[ProviderClient], Awaitable[Result]]


def _client(base_url: str, timeouts: Timeouts) -> ProviderClient:
    return ProviderClient(base_url=base_url, api_key=KEY, timeouts=timeouts)


def _ask(
    answer: Answer, call: Call[Result], timeouts: Timeouts | None = None
) -> tuple[Result, RawServer]:
    async def main() -> tuple[Result, RawServer]:
        async with raw_server(answer) as server:
            client = _client(server.base_url, timeouts or Timeouts(connect=5, total=10))
            try:
                return await call(client), server
            finally:
                await client.aclose()

    return asyncio.run(main())


def _poll(answer: Answer, timeouts: Timeouts | None = None) -> PollOutcome:
    return _ask(answer, lambda client: client.task("task_1"), timeouts)[0]


def test_the_request_is_the_documented_one() -> None:
    _, server = _ask(http(200, TASK), lambda client: client.task("task_1"))
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/api/v1/tasks/task_1")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "idempotency-key" not in request.headers


def test_the_documented_answer() -> None:
    """The API document's output example."""
    outcome = _poll(
        http(
            200,
            b"""{"request_id": "req_demo_model", "task_id": "task_1", "status": "succeeded",
            "cost_estimate": 0.0414, "cost_actual": 0.0414,
            "output": {"videos": [{"url": "https://example.com/output/demo.mp4"}]}}""",
        )
    )
    assert isinstance(outcome, Accepted)
    task = outcome.task
    assert task.status is TaskStatus.SUCCEEDED
    assert task.cost_actual == Cost(41_400_000, "0.0414")
    assert task.cost_problem is None
    assert task.videos == ("https://example.com/output/demo.mp4",)
    assert task.request_id == "req_demo_model"
    assert task.error is None


@pytest.mark.parametrize("status", list(TaskStatus))
def test_the_five_words(status: TaskStatus) -> None:
    outcome = _poll(http(200, TASK | {"status": status.value}))
    assert isinstance(outcome, Accepted)
    assert outcome.task.status is status


def test_a_sixth_word_is_kept_raw() -> None:
    outcome = _poll(http(200, TASK | {"status": "warming_up"}))
    assert isinstance(outcome, Accepted)
    assert (outcome.task.status, outcome.task.raw_status) == (None, "warming_up")


@pytest.mark.parametrize("nothing", [{}, {"cost_actual": None, "output": None}, {"output": []}])
def test_absent_and_null_output_and_costs_are_fine(nothing: dict[str, object]) -> None:
    outcome = _poll(http(200, TASK | nothing))
    assert isinstance(outcome, Accepted)
    assert (outcome.task.cost_actual, outcome.task.cost_problem) == (None, None)
    assert outcome.task.videos == ()


def test_every_video_is_kept_in_order_as_object_or_text() -> None:
    videos = [{"url": "https://a/2"}, "https://a/1", {"url": None}, {}, None, "", {"url": " x "}]
    outcome = _poll(http(200, TASK | {"output": {"videos": videos}}))
    assert isinstance(outcome, Accepted)
    assert outcome.task.videos == ("https://a/2", "https://a/1", "x")


@pytest.mark.parametrize(
    "cost", ["-1", "NaN", "Infinity", "1e999999999999999999999", '"free"', '""', "true", "{}", "[]"]
)
@pytest.mark.parametrize("name", ["cost_estimate", "cost_actual"])
def test_a_cost_that_cannot_be_read_is_named(name: str, cost: str) -> None:
    body = f'{{"task_id": "task_1", "status": "succeeded", "{name}": {cost}}}'
    outcome = _poll(http(200, body.encode()))
    assert isinstance(outcome, Accepted)
    assert outcome.task.cost_problem is not None
    assert name in outcome.task.cost_problem
    assert (outcome.task.cost_estimate, outcome.task.cost_actual) == (None, None)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("0.0414", Cost(41_400_000, "0.0414")),
        ('"0.0414"', Cost(41_400_000, "0.0414")),
        ("0", Cost(0, "0")),
        ("12", Cost(12_000_000_000, "12")),
        ("0.1000000001", Cost(100_000_001, "0.1000000001")),
        # As a binary float this one would be 0.3000000000000000444.
        ("0.30000000000000004", Cost(300_000_001, "0.30000000000000004")),
    ],
)
def test_costs_are_exact(cost: str, expected: Cost) -> None:
    body = f'{{"task_id": "task_1", "status": "succeeded", "cost_actual": {cost}}}'
    outcome = _poll(http(200, body.encode()))
    assert isinstance(outcome, Accepted)
    assert outcome.task.cost_actual == expected


@pytest.mark.parametrize("word", ["failed", "cancelled"])
@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        ({"error": {"code": "nsfw", "message": "unsafe"}}, "nsfw", "unsafe"),
        ({"error": "unsafe"}, None, "unsafe"),
        ({"message": ["unsafe", "really"]}, None, "unsafe; really"),
        ({"error": {"code": 17}}, "17", ""),
    ],
)
def test_the_reason_of_a_failure(
    word: str, reason: dict[str, object], code: str | None, message: str
) -> None:
    outcome = _poll(http(200, TASK | {"status": word} | reason))
    assert isinstance(outcome, Accepted)
    assert outcome.task.error is not None
    assert (outcome.task.error.code, outcome.task.error.message) == (code, message)


def test_a_failure_without_a_reason_and_a_success_with_a_message() -> None:
    for body in (TASK | {"status": "failed"}, TASK | {"status": "succeeded", "message": "ok"}):
        outcome = _poll(http(200, body))
        assert isinstance(outcome, Accepted)
        assert outcome.task.error is None


def test_404_is_not_found() -> None:
    assert isinstance(_poll(http(404, {"detail": "no such task"})), NotFound)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, GateReason.UNAUTHORIZED),
        (402, GateReason.PAYMENT_REQUIRED),
        (403, GateReason.FORBIDDEN),
        (302, GateReason.UNEXPECTED),
        (405, GateReason.UNEXPECTED),
    ],
)
def test_the_accounts_fault_is_a_gate(status: int, reason: GateReason) -> None:
    outcome = _poll(http(status, b"", Location="http://127.0.0.1:1/"))
    assert isinstance(outcome, Gated)
    assert outcome.reason is reason


@pytest.mark.parametrize(
    ("status", "gate"),
    [
        (429, GateReason.RATE_LIMITED),
        (503, GateReason.UNAVAILABLE),
        *((status, None) for status in (400, 408, 409, 410, 413, 415, 422, 425, 500, 502, 504)),
    ],
)
def test_what_says_nothing_about_the_task_is_asked_later(
    status: int, gate: GateReason | None
) -> None:
    outcome = _poll(http(status, b"", Retry_After="4"))
    assert isinstance(outcome, AskLater)
    assert (outcome.gate, outcome.retry_after) == (gate, 4.0)


@pytest.mark.parametrize(
    "answer",
    [
        close,
        reset,
        then(http(200, TASK)[:-5], reset),
        http(200, b""),
        http(200, b"<html>"),
        http(200, {"task_id": "task_1"}),
        http(200, TASK | {"task_id": "task_2", "status": "failed"}),
        http(200, TASK | {"task_id": {}}),
    ],
)
def test_an_answer_that_cannot_be_used_is_asked_later(answer: Answer) -> None:
    assert isinstance(_poll(answer), AskLater)


def test_a_poll_that_hangs_is_asked_later() -> None:
    assert isinstance(_poll(hang, QUICK), AskLater)


def test_an_unreachable_server_is_asked_later() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/v1"

        async def main() -> PollOutcome:
            client = _client(url, QUICK)
            try:
                return await client.task("task_1")
            finally:
                await client.aclose()

        outcome = asyncio.run(main())
    assert isinstance(outcome, AskLater)
    assert outcome.gate is GateReason.UNREACHABLE


@pytest.mark.parametrize(
    ("task_id", "target"),
    [
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("%2e%2e", "%252e%252e"),
        ("a%2Fb", "a%252Fb"),
        ("ü b", "%C3%BC%20b"),
        ("a\r\nX: y", "a%0D%0AX:%20y"),
        ("//evil.example/", "%2F%2Fevil.example%2F"),
        ("a\\b", "a%5Cb"),
    ],
)
def test_a_hostile_task_id_stays_one_step_of_the_path(task_id: str, target: str) -> None:
    async def call(client: ProviderClient) -> None:
        await client.task(task_id)
        await client.events(task_id)

    _, server = _ask(http(200, TASK), call)
    assert [request.target for request in server.requests] == [
        f"/api/v1/tasks/{target}",
        f"/api/v1/tasks/{target}/events",
    ]


@pytest.mark.parametrize("task_id", ["", ".", "..", " ", "\ud800", "x" * 501])
def test_what_is_no_task_id_is_not_asked_for(task_id: str) -> None:
    async def call(client: ProviderClient) -> None:
        assert isinstance(await client.task(task_id), NotFound)
        assert await client.events(task_id) is None

    _, server = _ask(http(200, TASK), call)
    assert server.requests == []


def test_events_are_kept_raw() -> None:
    text = '{ "events": [ {"type": "failed", "cost": 0.10} ] }'
    found, server = _ask(http(200, text.encode()), lambda client: client.events("task_1"))
    assert found == text
    assert server.requests[0].target == "/api/v1/tasks/task_1/events"


@pytest.mark.parametrize(
    "answer",
    [
        http(404, b"{}"),
        http(500, b"{}"),
        http(200, b"<html>"),
        http(200, b""),
        http(200, json.dumps("x" * 70_000).encode()),
        then(http(200, b'{"a": 1}')[:-2], close),
        close,
    ],
)
def test_events_that_cannot_be_read_are_none(answer: Answer) -> None:
    assert _ask(answer, lambda client: client.events("task_1"))[0] is None


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500])
def test_any_answer_is_reached_and_the_key_stays_home(status: int) -> None:
    _, server = _ask(http(status, b""), lambda client: client.reach())
    (request,) = server.requests
    assert request.target == "/api/v1"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("answer", [close, reset, hang, then(b"SSH-2.0\r\n\r\n", close)])
def test_what_speaks_no_http_is_not_reached(answer: Answer) -> None:
    with pytest.raises(ServiceError):
        _ask(answer, lambda client: client.reach(), QUICK)


def test_nothing_listening_is_not_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def main() -> None:
            client = _client(f"http://127.0.0.1:{port}/api/v1", QUICK)
            try:
                await client.reach()
            finally:
                await client.aclose()

        with pytest.raises(ServiceError) as caught:
            asyncio.run(main())
    assert caught.value.code == "unreachable"
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "MINDVIDEO_BASE_URL" in caught.value.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "base_url",
    ["", "api.example/v1", "ftp://x/", "http://", f"http://{'x' * 70}.example", "http://h:port"],
)
def test_a_base_url_that_cannot_be_used_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigError, match="MINDVIDEO_BASE_URL"):
        _client(base_url, QUICK)
