"""Events to the outside: signed, at least once, always under the same id."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import standardwebhooks

from orchestrator.addresses import leads_inside
from orchestrator.domain.batch import Wanted
from orchestrator.notify import Command, Webhook
from orchestrator.services import finishing, notifying
from orchestrator.store import tables as t
from tests.support.shop import Shop, accept

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0"


@dataclass
class Receiver:
    """A server that takes events, or not."""

    url: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.got.append((headers, body))
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, "", accept)


def finished(shop: Shop) -> None:
    """A batch at its end, announced."""
    shop.submit(2)
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(state="succeeded"))
    assert finishing.run_once(shop.context) == 1


def deliver(shop: Shop, *targets: notifying.Deliver) -> int:
    return notifying.run_once(shop.context, targets, lambda: 0.5)


def hook(receiver: Receiver) -> notifying.Deliver:
    return Webhook(receiver.url, SECRET, allow_private=True).deliver


def due_now(shop: Shop) -> None:
    with shop.store.write() as tx:
        tx.conn.execute(t.outbox.update().values(due_at=0))


def test_a_finished_batch_is_told_once_and_signed(shop: Shop, receiver: Receiver) -> None:
    finished(shop)
    assert deliver(shop, hook(receiver)) == 1
    due_now(shop)
    assert deliver(shop, hook(receiver)) == 0
    ((headers, body),) = receiver.got
    event = standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert event["type"] == "batch.finished"
    assert event["data"]["batch"] == "shop@default"
    assert event["data"]["counts"]["succeeded"] == 2
    assert "mv_live_secret" not in body + json.dumps(headers)


def test_a_receiver_that_was_down_gets_the_same_event_later(shop: Shop, receiver: Receiver) -> None:
    finished(shop)
    receiver.status = 500
    assert deliver(shop, hook(receiver)) == 0
    assert deliver(shop, hook(receiver)) == 0, "not before its backoff"
    receiver.status = 200
    due_now(shop)
    assert deliver(shop, hook(receiver)) == 1
    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1


def test_an_event_whose_teller_died_is_told_again(shop: Shop, receiver: Receiver) -> None:
    finished(shop)

    def die(*_: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(shop, hook(receiver), die)
    assert deliver(shop, hook(receiver)) == 0, "it is leased"
    due_now(shop)
    assert deliver(shop, hook(receiver)) == 1
    assert len(set(receiver.ids)) == 1


def test_nobody_to_tell_keeps_the_event(shop: Shop, receiver: Receiver) -> None:
    finished(shop)
    assert deliver(shop) == 0
    assert deliver(shop, hook(receiver)) == 1


def test_a_batch_that_needs_a_person_says_so_once_each_time(shop: Shop, receiver: Receiver) -> None:
    shop.submit(2)
    for wanted in (Wanted.PAUSED, Wanted.PAUSED, Wanted.OPEN, Wanted.OPEN):
        with shop.store.write() as tx:
            tx.conn.execute(t.batches.update().values(wanted=wanted))
        deliver(shop, hook(receiver))
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["batch.needs_person"]


def test_a_command_reads_the_event(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINDVIDEO_API_KEY", "mv_live_secret")
    script = tmp_path / "told.py"
    script.write_text(
        "import os, sys, pathlib\n"
        "assert 'MINDVIDEO_API_KEY' not in os.environ\n"
        "told = os.environ['EVENT_ID'] + ' ' + os.environ['EVENT_TYPE'] + ' '\n"
        f"pathlib.Path({str(tmp_path / 'told')!r}).write_text(told + sys.stdin.read())\n"
    )
    finished(shop)
    fails = Command(f"{sys.executable} -c 'raise SystemExit(3)'").deliver
    assert deliver(shop, fails) == 0
    due_now(shop)
    assert deliver(shop, Command(f"{sys.executable} {script}").deliver) == 1
    event_id, kind, body = (tmp_path / "told").read_text().split(" ", 2)
    assert (event_id[:9], kind) == ("finished-", "batch.finished")
    assert json.loads(body)["data"]["state"] == "finished"


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("https://127.0.0.1/x", True),
        ("https://localhost/x", True),
        ("https://10.1.2.3/x", True),
        ("https://[::1]/x", True),
        ("https://169.254.169.254/latest", True),
        ("https://8.8.8.8/x", False),
    ],
)
def test_private_addresses_are_seen(url: str, inside: bool) -> None:
    assert leads_inside(url) is inside


def test_a_private_receiver_is_not_called_unless_allowed(shop: Shop, receiver: Receiver) -> None:
    finished(shop)
    assert deliver(shop, Webhook(receiver.url, SECRET, allow_private=False).deliver) == 0
    assert receiver.got == []
