"""What every answer to a submit means, over a real socket: the rows of docs/provider.md."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.domain.money import Cost
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    Gated,
    GateReason,
    Lost,
    NothingCharged,
    Rejected,
    SubmitOutcome,
    TaskStatus,
)
from orchestrator.provider import ProviderClient, Timeouts
from tests.support.raw_server import (
    Answer,
    RawServer,
    close,
    drip,
    hang,
    http,
    raw_server,
    reset,
    then,
)

KEY = "mv_live_secret0123456789"
TASK = {"request_id": "req_1", "task_id": "task_1", "status": "queued", "cost_estimate": 0.0414}
NOW = 1_784_800_000.0
QUICK = Timeouts(connect=0.4, total=0.4)


def _client(base_url: str, timeouts: Timeouts | None = None, api_key: str = KEY) -> ProviderClient:
    return ProviderClient(
        base_url=base_url,
        api_key=api_key,
        timeouts=timeouts or Timeouts(connect=5, total=10),
        clock=lambda: NOW,
    )


def _with(
    server_answers: tuple[Answer, ...],
    scenario: Callable[[RawServer, ProviderClient], Awaitable[None]],
    timeouts: Timeouts | None = None,
    api_key: str = KEY,
) -> None:
    async def main() -> None:
        async with raw_server(*server_answers) as server:
            client = _client(server.base_url, timeouts, api_key)
            try:
                await scenario(server, client)
            finally:
                await client.aclose()

    asyncio.run(main())


def _submit(answer: Answer, timeouts: Timeouts | None = None, api_key: str = KEY) -> SubmitOutcome:
    """One submit against one answer; it must have been sent exactly once."""
    outcomes: list[SubmitOutcome] = []

    async def scenario(server: RawServer, client: ProviderClient) -> None:
        outcomes.append(await client.submit(b"{}", "key-1"))
        assert len(server.requests) == 1

    _with((answer,), scenario, timeouts, api_key)
    return outcomes[0]


def test_the_request_is_the_documented_one() -> None:
    async def scenario(server: RawServer, client: ProviderClient) -> None:
        await client.submit(b'{"model":"kling-v2-6"}', "key-1")
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/api/v1/tasks")
        assert request.body == b'{"model":"kling-v2-6"}'
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == "key-1"
        assert KEY not in repr(client)

    _with((http(200, TASK),), scenario)


def test_a_large_body_arrives_byte_for_byte_and_not_chunked() -> None:
    async def scenario(server: RawServer, client: ProviderClient) -> None:
        body = bytes(range(256)) * 12_000
        assert isinstance(await client.submit(body, "key-1"), Accepted)
        (request,) = server.requests
        assert request.body == body
        assert "transfer-encoding" not in request.headers

    _with((http(200, TASK),), scenario)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 299])
def test_any_2xx_with_a_task_id_is_accepted(status: int) -> None:
    outcome = _submit(http(status, TASK))
    assert isinstance(outcome, Accepted)
    assert outcome.task.task_id == "task_1"
    assert outcome.task.status is TaskStatus.QUEUED
    assert outcome.task.request_id == "req_1"
    assert outcome.task.cost_estimate == Cost(41_400_000, "0.0414")


def test_a_replayed_key_may_answer_with_a_task_that_has_ended() -> None:
    outcome = _submit(
        http(
            200,
            TASK
            | {
                "status": "succeeded",
                "cost_actual": "0.0414",
                "output": {"videos": [{"url": "https://a/1.mp4"}, "https://a/2.mp4"]},
            },
        )
    )
    assert isinstance(outcome, Accepted)
    assert outcome.task.status is TaskStatus.SUCCEEDED
    assert outcome.task.cost_actual == Cost(41_400_000, "0.0414")
    assert outcome.task.videos == ("https://a/1.mp4", "https://a/2.mp4")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>fine</html>",
        b'{"task_id": "ta',
        b"[]",
        b"null",
        b'{"status":"queued"}',
        b'{"task_id":null}',
        b'{"task_id":""}',
        b'{"task_id":".."}',
        b'{"task_id":{}}',
        b'{"task_id":"\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"task_id":"t","padding":"' + b"x" * 2_200_000 + b'"}',
    ],
)
def test_a_2xx_without_a_task_id_is_ambiguous(body: bytes) -> None:
    outcome = _submit(http(200, body))
    assert isinstance(outcome, Ambiguous)
    assert outcome.reason is Lost.UNREADABLE


def test_a_whole_task_counts_even_if_the_answer_breaks_off_after_it() -> None:
    longer = http(200, TASK).replace(b"Content-Length: ", b"Content-Length: 9")
    for ending in (close, reset):
        outcome = _submit(then(longer, ending))
        assert isinstance(outcome, Accepted)
        assert outcome.task.task_id == "task_1"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_refused_as_input(status: int) -> None:
    body = {"error": {"code": "bad_input", "message": "duration must be 5 or 10"}}
    outcome = _submit(http(status, body, X_Request_Id="req_9"))
    assert isinstance(outcome, Rejected)
    assert outcome.detail.status == status
    assert outcome.detail.code == "bad_input"
    assert outcome.detail.message == "duration must be 5 or 10"
    assert outcome.detail.request_id == "req_9"
    assert "duration must be" in outcome.detail.text


def test_a_status_stands_even_if_its_body_breaks_off() -> None:
    broken = http(422, b'{"message": "no"}').replace(b": 17", b": 99")
    outcome = _submit(then(broken, reset))
    assert isinstance(outcome, Rejected)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, GateReason.UNAUTHORIZED),
        (402, GateReason.PAYMENT_REQUIRED),
        (403, GateReason.FORBIDDEN),
        (404, GateReason.NOT_FOUND),
        (301, GateReason.UNEXPECTED),
        (302, GateReason.UNEXPECTED),
        (307, GateReason.UNEXPECTED),
        (405, GateReason.UNEXPECTED),
        (410, GateReason.UNEXPECTED),
        (418, GateReason.UNEXPECTED),
        (451, GateReason.UNEXPECTED),
    ],
)
def test_the_accounts_or_the_installations_fault_is_a_gate(status: int, reason: GateReason) -> None:
    outcome = _submit(http(status, {"detail": "no"}, Location="/elsewhere"))
    assert isinstance(outcome, Gated)
    assert outcome.reason is reason
    assert outcome.detail.message == "no"


def test_409_is_ambiguous() -> None:
    outcome = _submit(http(409, {"message": "key reused"}))
    assert isinstance(outcome, Ambiguous)
    assert (outcome.reason, outcome.detail.message) == (Lost.CONFLICT, "key reused")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "1.5"}, 1.5),
        ({"Retry_After": "999999999"}, 3600.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "nan"}, None),
        (
            {
                "Retry_After": "Mon, 23 Nov 2026 09:00:30 GMT",
                "Date": "Mon, 23 Nov 2026 09:00:00 GMT",
            },
            30.0,
        ),
        ({"Retry_After": "Thu, 23 Jul 2026 09:47:00 GMT"}, 20.0),
        ({"Retry_After": "Thu, 23 Jul 2020 09:47:00 GMT"}, 0.0),
    ],
)
def test_429_charges_nothing_and_says_how_long_to_wait(
    headers: dict[str, str], seconds: float | None
) -> None:
    outcome = _submit(http(429, b"slow down", **headers))
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.RATE_LIMITED
    assert outcome.retry_after == seconds
    assert outcome.detail.message == "slow down"


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"Retry_After": "9"}, 9.0)])
def test_503_is_ambiguous_with_and_without_a_time(
    headers: dict[str, str], seconds: float | None
) -> None:
    outcome = _submit(http(503, b"", **headers))
    assert isinstance(outcome, Ambiguous)
    assert (outcome.reason, outcome.retry_after) == (Lost.UNAVAILABLE, seconds)
    assert outcome.detail.message == "HTTP 503"


@pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 504, 520, 599])
def test_408_425_and_other_5xx_are_ambiguous(status: int) -> None:
    outcome = _submit(http(status, b"<html>bad gateway</html>"))
    assert isinstance(outcome, Ambiguous)
    assert outcome.reason is Lost.SERVER_ERROR


@pytest.mark.parametrize(
    "answer",
    [
        close,
        reset,
        then(b"HTTP/1.1 20", close),
        then(http(200, TASK)[:-10], close),
        then(http(200, TASK)[:-10], reset),
        then(b"SSH-2.0-OpenSSH_9\r\n\r\n", close),
        then(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", close),
        then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close),
        then(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", close),
    ],
)
def test_an_answer_that_is_lost_or_no_http_is_ambiguous(answer: Answer) -> None:
    outcome = _submit(answer)
    assert isinstance(outcome, Ambiguous)
    assert outcome.reason in {Lost.CONNECTION, Lost.UNREADABLE}


@pytest.mark.parametrize("answer", [hang, then(http(200, TASK)[:60], hang), drip(http(200, TASK))])
def test_no_answer_in_time_is_ambiguous_however_it_is_spun_out(answer: Answer) -> None:
    outcome = _submit(answer, QUICK)
    assert isinstance(outcome, Ambiguous)
    assert outcome.reason is Lost.TIMEOUT


def test_a_kept_connection_that_was_closed_is_never_re_sent_silently() -> None:
    """The server ends the connection as it gets the second request: only the caller may retry."""

    async def scenario(server: RawServer, client: ProviderClient) -> None:
        assert isinstance(await client.submit(b"{}", "key-1"), Accepted)
        outcome = await client.submit(b"{}", "key-2")
        assert isinstance(outcome, Ambiguous)
        assert outcome.reason is Lost.CONNECTION
        assert server.connections == 1, "the second request went over the kept connection"
        assert [request.headers["idempotency-key"] for request in server.requests] == [
            "key-1",
            "key-2",
        ]

    _with((http(200, TASK), close), scenario)


def test_connections_are_kept() -> None:
    async def scenario(server: RawServer, client: ProviderClient) -> None:
        for number in range(5):
            await client.submit(b"{}", f"key-{number}")
        assert server.connections == 1

    _with((http(200, TASK),), scenario)


def _failed_submit(base_url: str, timeouts: Timeouts | None = None) -> SubmitOutcome:
    async def main() -> SubmitOutcome:
        client = _client(base_url, timeouts)
        try:
            return await client.submit(b"{}", "key-1")
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_a_refused_connection_charges_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = _failed_submit(f"http://127.0.0.1:{unused.getsockname()[1]}/api/v1")
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.UNREACHABLE
    assert "127.0.0.1" in outcome.detail.message


def test_a_name_that_does_not_resolve_charges_nothing() -> None:
    outcome = _failed_submit("http://nowhere.invalid/api/v1")
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.UNREACHABLE


def test_a_connection_that_is_never_taken_up_charges_nothing() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # A queue of length zero holds one connection; the next ones get no answer.
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            outcome = _failed_submit(f"http://127.0.0.1:{address[1]}/api/v1", QUICK)
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.UNREACHABLE


def test_a_server_without_tls_charges_nothing_over_https() -> None:
    outcomes: list[SubmitOutcome] = []

    async def main() -> None:
        async with raw_server(http(200, TASK)) as server:
            client = _client(server.base_url.replace("http:", "https:"), QUICK)
            outcomes.append(await client.submit(b"{}", "key-1"))
            await client.aclose()

    asyncio.run(main())
    assert isinstance(outcomes[0], NothingCharged)


def test_waiting_for_a_free_connection_charges_nothing() -> None:
    """One connection, taken by a request that hangs: the other was certainly never sent."""

    async def main() -> None:
        async with raw_server(hang) as server:
            client = ProviderClient(
                base_url=server.base_url, api_key=KEY, timeouts=QUICK, max_connections=1
            )
            first, second = await asyncio.gather(
                client.submit(b"{}", "key-1"), client.submit(b"{}", "key-2")
            )
            await client.aclose()
            assert isinstance(first, Ambiguous)
            assert isinstance(second, NothingCharged)
            assert len(server.requests) == 1

    asyncio.run(main())


def test_a_key_that_the_server_quotes_is_blotted_out() -> None:
    outcome = _submit(http(401, {"error": f"Invalid key {KEY}"}))
    assert isinstance(outcome, Gated)
    assert outcome.detail.message == "Invalid key ***"
    assert KEY not in repr(outcome)


@pytest.mark.parametrize("key", ["k", "task", "test"])
def test_a_short_key_does_not_spoil_a_task(key: str) -> None:
    outcome = _submit(http(202, TASK | {"task_id": "task_test_1"}), api_key=key)
    assert isinstance(outcome, Accepted)
    assert outcome.task.task_id == "task_test_1"
