"""The two tables, without a network: every status, every way an exchange can fail."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    AskLater,
    Gated,
    GateReason,
    Lost,
    NotFound,
    NothingCharged,
    Rejected,
)
from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.provider.classify import (
    FAILURES,
    MAX_DETAIL,
    Answer,
    failure,
    of_poll,
    of_submit,
)
from orchestrator.provider.transport import TRUTH, told_truthfully
from orchestrator.provider.wire import MAX_ID

BEFORE_ANY_BYTE = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
}


def _tree(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _is_httpx(kind: type[Exception]) -> bool:
    return kind.__module__.split(".")[0] == "httpx"


def test_the_table_is_total_over_the_exceptions_a_request_can_raise() -> None:
    """A class that a newer httpx adds must be thought about, not inherit an entry."""
    tree = {kind for kind in _tree(httpx.RequestError) if _is_httpx(kind)}
    assert tree | {TimeoutError} == set(FAILURES)


def test_only_what_precedes_every_byte_charges_nothing() -> None:
    assert {kind for kind, what in FAILURES.items() if isinstance(what, GateReason)} == (
        BEFORE_ANY_BYTE
    )


def test_a_foreign_exception_is_not_guessed_at() -> None:
    with pytest.raises(KeyError):
        failure(ValueError("a bug"))


def test_a_subclass_of_someone_else_takes_its_nearest_entry() -> None:
    class Odd(httpx.ReadError):
        pass

    assert failure(Odd("x")) is Lost.CONNECTION


def _aiohttp_errors() -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, aiohttp.ClientError)]


@pytest.mark.parametrize("kind", _aiohttp_errors())
def test_every_aiohttp_error_is_told_as_one_of_ours(kind: type[Exception]) -> None:
    first = next(ours for foreign, ours in TRUTH if issubclass(kind, foreign))
    before = FAILURES[first] is GateReason.UNREACHABLE
    connecting = (
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ServerFingerprintMismatch,
        aiohttp.InvalidURL,
        aiohttp.NonHttpUrlClientError,
    )
    assert before == issubclass(kind, connecting)


def test_a_dropped_connection_is_not_called_a_connect_timeout() -> None:
    """What the library makes of it."""
    library = httpx.ConnectTimeout("Server disconnected")
    library.__cause__ = aiohttp.ServerDisconnectedError()
    assert isinstance(told_truthfully(library), httpx.ReadError)
    assert told_truthfully(ValueError("a bug")) is None


@given(
    status=st.integers(100, 999),
    body=st.binary(max_size=200) | st.sampled_from([b"{}", b'{"task_id":"t","status":"queued"}']),
    header=st.text(max_size=30),
)
def test_every_answer_has_a_meaning(status: int, body: bytes, header: str) -> None:
    answer = Answer(status, {"retry-after": header, "x-request-id": header}, body)
    submitted, polled = of_submit(answer), of_poll(answer, "t")
    assert isinstance(submitted, Accepted | Rejected | NothingCharged | Gated | Ambiguous)
    assert isinstance(polled, Accepted | NotFound | AskLater | Gated)
    if not 200 <= status < 300:
        assert not isinstance(submitted, Accepted)
        assert not isinstance(polled, Accepted)
    if isinstance(submitted, NothingCharged):
        assert status == 429
    if isinstance(submitted, Rejected):
        assert status in {400, 413, 415, 422}


def test_the_detail_is_bounded_and_storable() -> None:
    body = ("\0\ud800é" * 5000).encode("utf-8", "surrogatepass")
    outcome = of_submit(Answer(500, {}, body))
    assert isinstance(outcome, Ambiguous)
    assert len(outcome.detail.text.encode()) <= MAX_DETAIL
    assert "\0" not in outcome.detail.text + outcome.detail.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"a"}}', "a"),
        (b'{"error":"a"}', "a"),
        (b'{"message":"a"}', "a"),
        (b'{"detail":"a"}', "a"),
        (b'{"detail":["a","b"]}', "a; b"),
        (b'{"detail":[{"loc":["body","input","duration"],"msg":"a"}]}', "body.input.duration: a"),
        (b'{"error":{"error":{"detail":["a"]}}}', "a"),
        (b'{"error":null,"message":"","detail":"a"}', "a"),
        (b'{"message":"a\\u0000b\\ud800"}', "a\ufffdb?"),
        (b"{}", "HTTP 400"),
        (b"[]", "HTTP 400"),
        (b"", "HTTP 400"),
        (b"<html>oops</html>", "HTTP 400"),
        (b"plain words\nmore", "plain words"),
    ],
)
def test_error_bodies_are_read_leniently(body: bytes, message: str) -> None:
    outcome = of_submit(Answer(400, {}, body))
    assert isinstance(outcome, Rejected)
    assert outcome.detail.message == message


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        ({"x-request-id": "h"}, b"{}", "h"),
        ({"x-request-id": "h"}, b'{"request_id":"b"}', "b"),
        ({}, b'{"error":{"request_id":"e"}}', "e"),
        ({}, b'{"request_id":[]}', None),
    ],
)
def test_the_request_id(headers: dict[str, str], body: bytes, found: str | None) -> None:
    outcome = of_submit(Answer(400, headers, body))
    assert isinstance(outcome, Rejected)
    assert outcome.detail.request_id == found


@pytest.mark.parametrize(
    ("given_id", "task_id"), [('"t"', "t"), ("17", "17"), ("true", None), (f'"{"x" * 501}"', None)]
)
def test_task_ids(given_id: str, task_id: str | None) -> None:
    outcome = of_submit(Answer(200, {}, f'{{"task_id":{given_id}}}'.encode()))
    found = outcome.task.task_id if isinstance(outcome, Accepted) else None
    assert found == task_id
    assert found is None or len(found) <= MAX_ID


@pytest.mark.parametrize("kind", FAILURES)
def test_the_client_turns_every_failure_into_an_outcome(kind: type[Exception]) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise kind("it broke")

    async def main() -> None:
        client = ProviderClient(
            base_url="https://api.example/v1",
            api_key="k",
            timeouts=Timeouts(),
            transport=httpx.MockTransport(fail),
        )
        submitted, polled = await client.submit(b"{}", "key"), await client.task("t")
        expected = NothingCharged if kind in BEFORE_ANY_BYTE else Ambiguous
        assert isinstance(submitted, expected)
        assert submitted.detail.message == "it broke"
        assert isinstance(polled, AskLater)
        assert await client.events("t") is None
        await client.aclose()

    asyncio.run(main())
