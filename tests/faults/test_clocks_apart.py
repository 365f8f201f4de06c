"""A fleet on real servers whose machine has a wrong clock; `doctor --fleet` looks at it."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tests.support.stepping
from tests.support.installation import Installation, until
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server, statement
from tests.support.sandbox import Sandbox, sandbox
from tests.support.valkey import short_directory, valkey_server
from tests.support.zygote import Running

ROWS = 6
HOUR = "3600"
STEPPING = str(next(iter(tests.support.stepping.__path__)))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--queue", "0", "--median", "0.3") as running:
        yield running


@pytest.fixture
def there(tmp_path: Path, provider: Sandbox) -> Iterator[Installation]:
    """A machine of a fleet; its processes take what `clock` says onto their clocks."""
    with postgres_server() as server, short_directory() as place, valkey_server(place) as valkey:
        url = migrated_on(server)
        extra = {
            "ORCHESTRATOR_DATABASE_URL": url,
            "ORCHESTRATOR_BROKER_URL": valkey.broker_url,
            "ORCHESTRATOR_REQUEST_TIMEOUT": "3s",
            "CLOCK_AHEAD": str(tmp_path / "clock"),
            "PYTHONPATH": STEPPING,
        }
        yield Installation(tmp_path, provider.base_url, extra)


def elsewhere(there: Installation) -> Installation:
    """The same fleet, seen from a machine whose clock is right."""
    return replace(there, extra={k: v for k, v in there.extra.items() if k != "PYTHONPATH"})


@contextlib.contextmanager
def workers_of(there: Installation) -> Iterator[Running]:
    process = there.start("up", "--no-flower", "--json")
    try:
        assert process.stdout is not None
        assert any('"event": "up"' in line for line in process.stdout)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def looked_at(here: Installation) -> dict[str, list[tuple[str, str]]]:
    """Check -> (level, sentence) of each finding."""
    done = here.call("doctor", "--fleet", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == (3 if any(f["level"] == "bad" for f in findings) else 0)
    told: dict[str, list[tuple[str, str]]] = {}
    for one in findings:
        assert (one["mend"] is None) == (one["level"] == "ok")
        told.setdefault(one["check"], []).append((one["level"], one["found"]))
    return told


def test_nothing_is_sent_by_a_clock_an_hour_off_and_all_goes_on_when_it_is_set_right(
    there: Installation, provider: Sandbox
) -> None:
    clock, here = there.folder / "clock", elsewhere(there)
    log = there.folder / "data" / "logs" / "worker-submit.log"
    spec = there.prompts("apart.csv", ROWS)
    before = provider.charges
    with workers_of(there):
        until(lambda: ("ok", "4 processes on 1 hosts") in looked_at(here)["workers"])
        until(lambda: "one beat sends ticks" in looked_at(here)["beats"][0][1])
        told = looked_at(here)
        assert {level for level, _ in told["queues"]} == {"ok"}
        assert [level for level, _ in told["clocks"]] == ["ok", "ok"]
        assert [level for level, _ in told["commits"]] == ["ok"]
        assert "keeps nothing on disk" in told["broker's memory"][0][1]
        assert any("MINDVIDEO_API_KEY stands" in sentence for _, sentence in told["secrets"])

        clock.write_text(HOUR)
        statement(
            there.extra["ORCHESTRATOR_DATABASE_URL"],
            "ALTER SYSTEM SET synchronous_commit = off",
            "SELECT pg_reload_conf()",
        )
        assert here.call("submit", spec).returncode == 0
        until(lambda: "3,600 s ahead of the database's, so nothing is sent" in log.read_text())
        until(lambda: any("3,600 s ahead" in words for _, words in looked_at(here)["clocks"]))
        told = looked_at(here)
        assert [level for level, _ in told["clocks"]].count("bad") == 1
        assert told["commits"][0][0] == "bad"
        assert provider.charges == before

        for command in (["run", there.prompts("more.csv", 1)], ["up"]):
            refused = there.call(*command)
            assert refused.returncode == 3, refused.stdout + refused.stderr
            assert "this machine's clock is 3,600 s ahead of the database's" in refused.stderr
            assert "Traceback" not in refused.stderr

        clock.write_text("0")
        until(lambda: provider.charges == before + ROWS, seconds=90)
        until(lambda: here.status("apart")["state"] == "finished")
    assert provider.ledger()["charged_twice"] == 0
    assert "Traceback" not in log.read_text()
