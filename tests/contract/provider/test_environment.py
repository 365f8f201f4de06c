"""Proxies and certificates come from the environment, as in every other program."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from orchestrator.domain.outcome import Accepted, GateReason, NothingCharged, SubmitOutcome
from orchestrator.errors import ConfigError
from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.provider.transport import open_transport, proxy_for
from tests.support.raw_server import Request, http, raw_server

TASK = {"task_id": "task_1", "status": "queued"}
HTTPS = httpx.URL("https://api.example/api/v1")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def _submit_through(
    monkeypatch: pytest.MonkeyPatch, base_url: str, answer: bytes, credentials: str = ""
) -> tuple[SubmitOutcome, list[Request]]:
    """One submit with a proxy for everything that gives `answer`."""

    async def main() -> tuple[SubmitOutcome, list[Request]]:
        async with raw_server(answer) as proxy:
            monkeypatch.setenv("ALL_PROXY", f"http://{credentials}127.0.0.1:{proxy.port}")
            client = ProviderClient(
                base_url=base_url, api_key="mv_live_x", timeouts=Timeouts(connect=2, total=4)
            )
            try:
                return await client.submit(b"{}", "key-1"), proxy.requests
            finally:
                await client.aclose()

    return asyncio.run(main())


def test_plain_http_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, requests = _submit_through(
        monkeypatch, "http://api.example/api/v1", http(200, TASK), "ann:p%40ss@"
    )
    assert isinstance(outcome, Accepted)
    (request,) = requests
    assert (request.method, request.target) == ("POST", "http://api.example/api/v1/tasks")
    assert request.headers["authorization"] == "Bearer mv_live_x"
    pair = b64encode(b"ann:p@ss").decode()
    assert request.headers["proxy-authorization"] == f"Basic {pair}"


@pytest.mark.parametrize("status", [403, 407, 502, 503])
def test_https_asks_the_proxy_for_a_tunnel_and_a_refusal_charges_nothing(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    outcome, requests = _submit_through(
        monkeypatch, "https://api.example/api/v1", http(status, b""), "ann:pass@"
    )
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.UNREACHABLE
    (request,) = requests
    assert (request.method, request.target) == ("CONNECT", "api.example:443")
    assert "authorization" not in request.headers, "the key is not the proxy's business"
    assert request.headers["proxy-authorization"].startswith("Basic ")


def test_a_proxy_that_is_down_charges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")

    async def main() -> SubmitOutcome:
        client = ProviderClient(
            base_url="https://api.example/v1", api_key="k", timeouts=Timeouts(connect=2, total=4)
        )
        try:
            return await client.submit(b"{}", "key-1")
        finally:
            await client.aclose()

    outcome = asyncio.run(main())
    assert isinstance(outcome, NothingCharged)
    assert outcome.gate is GateReason.UNREACHABLE
    assert "secret" not in repr(outcome)


def test_no_proxy_and_loopback_go_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3129")
    found = proxy_for(HTTPS)
    assert found is not None
    assert str(found.url) == "http://proxy.example:3128"
    assert proxy_for(httpx.URL("http://127.0.0.1:8000/api/v1")) is None
    assert proxy_for(httpx.URL("http://localhost/api/v1")) is None
    monkeypatch.setenv("NO_PROXY", "other.example, .example")
    assert proxy_for(HTTPS) is None


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "http://", "http://h:port"])
def test_a_proxy_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        open_transport(HTTPS, 10)


def test_certificates_are_checked_and_ssl_cert_file_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = open_transport(HTTPS, 10).ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    empty = tmp_path / "none.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        open_transport(HTTPS, 10)
    empty.write_text("no certificate")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        open_transport(HTTPS, 10)
