"""What restarts processes, and what draws figures, asks how they are, and is told the truth."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.installation import Installation, until
from tests.support.processes import BEAT, BUYER, main_process, processes_of
from tests.support.sandbox import KEY, sandbox

NOWHERE = "http://127.0.0.1:1/api/v1"
SECRETS = {
    "FLOWER_BASIC_AUTH": "admin:flower-password",
    "ORCHESTRATOR_WEBHOOK_URL": "https://127.0.0.1:9/hook",
    "ORCHESTRATOR_WEBHOOK_ALLOW_PRIVATE": "1",
    "ORCHESTRATOR_WEBHOOK_SECRET": "whsec_d2ViaG9vay1zZWNyZXQ=",
}


PATIENCE = 150.0


@pytest.mark.timeout(600)
def test_an_installation_at_work_is_seen_from_outside(tmp_path: Path) -> None:
    """One for all: starting it takes longer than all that is looked at."""
    with at_work(tmp_path) as here:
        processes_at_work_are_seen(here)
        one_exporter_serves_the_figures_of_all(here)
        a_beat_that_stands_still_is_no_beat(here)
        records_say_what_was_not_routine_and_never_a_secret(here)
        a_killed_worker_is_missed_at_once(here)


@contextmanager
def at_work(folder: Path) -> Iterator[Installation]:
    with sandbox(folder / "provider", "--median", "0.5") as running:
        made = Installation(folder, running.base_url, SECRETS | {"ORCHESTRATOR_LOG_FORMAT": "json"})
        up = made.start("up", "--no-flower")
        until(lambda: made.call("health", "worker").returncode == 0, PATIENCE)
        until(lambda: made.call("health", "beat").returncode == 0, PATIENCE)
        yield made
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
        assert made.call("health", "worker").returncode == 3
        assert made.call("health", "beat").returncode == 3


def processes_at_work_are_seen(here: Installation) -> None:
    def found(*arguments: str) -> int:
        done = here.call("health", *arguments, "--json")
        return int(json.loads(done.stdout)["processes"]) if done.returncode == 0 else 0

    until(lambda: found("worker") == 4, PATIENCE)
    until(lambda: found("worker", "--queue", "submit") == 2)
    assert found("beat") == 1
    assert here.call("health", "ready").returncode == 0


def a_beat_that_stands_still_is_no_beat(here: Installation) -> None:
    beat = main_process(here.folder, BEAT)
    os.kill(beat, signal.SIGSTOP)
    try:
        (lock,) = (here.folder / "data" / "beats").glob("*.lock")
        minutes_ago = time.time() - 120
        os.utime(lock, (minutes_ago, minutes_ago))
        done = here.call("health", "beat")
    finally:
        os.kill(beat, signal.SIGCONT)
    assert done.returncode == 3
    assert "stands still" in done.stderr
    until(lambda: here.call("health", "beat").returncode == 0)


def a_killed_worker_is_missed_at_once(here: Installation) -> None:
    killed = set(processes_of(here.folder, BUYER))
    for pid in killed:
        os.kill(pid, signal.SIGSTOP)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not killed & set(processes_of(here.folder, BUYER)))
    folder = here.folder / "data" / "processes"
    names = {path.name for path in folder.glob("*.lock")}
    done = here.call("health", "worker", "--queue", "submit")
    came_back = {path.name for path in folder.glob("*.lock")} - names
    assert done.returncode == 3 or came_back, done.stdout
    until(lambda: here.call("health", "worker", "--queue", "submit").returncode == 0)


def test_ready_tells_what_is_missing(tmp_path: Path) -> None:
    elsewhere = {"ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0"}
    alone = Installation(tmp_path, NOWHERE, elsewhere)
    done = alone.call("health", "ready", "--json")
    assert done.returncode == 3
    assert json.loads(done.stderr)["error"]["code"] == "broker"
    assert alone.call("health", "worker", "--queue", "sumbit").returncode == 2


@contextmanager
def exporter(here: Installation) -> Iterator[str]:
    """`metrics serve`; gives its address."""
    process = here.start("metrics", "serve", "--port", "0")
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{said['port']}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0, "whoever runs it as a service ends it so"


def one_exporter_serves_the_figures_of_all(here: Installation) -> None:
    with exporter(here) as url:
        assert httpx.get(f"{url}/healthz").text == "ok\n"
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert httpx.get(f"{url}/favicon.ico").status_code == 404
        answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["orchestrator_worker_processes", "yes"] == 2
    assert samples["orchestrator_worker_processes", "no"] == 2
    assert samples["orchestrator_broker_up",] == 1
    assert ("orchestrator_queue_messages", "submit") in samples
    printed = here.call("metrics")
    assert printed.returncode == 0
    assert 'orchestrator_worker_processes{buys="no"} 2.0' in printed.stdout


def test_an_exporter_without_broker_or_tables_says_so(tmp_path: Path) -> None:
    away = {
        "ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0",
        "ORCHESTRATOR_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}",
    }
    with exporter(Installation(tmp_path, NOWHERE, away)) as url:
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "orchestrator db upgrade" in ready.json()["database"]
        assert "ORCHESTRATOR_BROKER_URL" in ready.json()["broker"]
        assert httpx.get(f"{url}/healthz").status_code == 200
        figures = httpx.get(f"{url}/metrics").text
    assert "orchestrator_database_up 0.0" in figures
    assert "orchestrator_broker_up 0.0" in figures


def records_say_what_was_not_routine_and_never_a_secret(here: Installation) -> None:
    faults = [
        {"on": "submit", "kind": "reject_422", "count": 1},
        {"on": "submit", "kind": "error_502_after_commit", "count": 2},
    ]
    root = here.base_url.removesuffix("/api/v1")
    httpx.put(f"{root}/_sandbox/faults", json=faults).raise_for_status()
    spec = here.prompts("told.csv", 30)
    assert here.call("submit", spec, "--yes").returncode == 0
    until(lambda: here.status("told")["state"] == "finished")
    logs = here.folder / "data" / "logs"
    until(lambda: "batch finished" in (logs / "worker-poll.log").read_text())
    everything = "\n".join(path.read_text() for path in logs.glob("*.log*"))
    for secret in (KEY, "flower-password", "d2ViaG9vay1zZWNyZXQ="):
        assert secret not in everything
    submit = [
        json.loads(line)
        for line in (logs / "worker-submit.log").read_text().splitlines()
        if line.startswith("{")
    ]
    chunks = [record for record in submit if record["message"] == "chunk sent"]
    assert chunks
    assert all(record["batch"] == "told@default" and record["chunk"] for record in chunks)
    odd = [record for record in submit if "generation" in record]
    assert sorted(record["state"] for record in odd) == ["rejected", "unknown", "unknown"]
    assert all(
        record["row"].startswith("r") and record["batch"] == "told@default" for record in odd
    )
    told = [line for line in everything.splitlines() if line.startswith("{")]
    assert len(told) < 60, "no poll and no tick has a line of its own: " + "\n".join(told)
