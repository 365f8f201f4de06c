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
from tests.support.processes import processes_of
from tests.support.sandbox import sandbox


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("health")
    with sandbox(folder / "provider") as running:
        made = Installation(folder, running.base_url, {"ORCHESTRATOR_FLOWER_PORT": "0"})
        up = made.start("up", "--no-flower")
        until(lambda: made.call("health", "worker").returncode == 0)
        until(lambda: made.call("health", "beat").returncode == 0)
        yield made
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
        assert made.call("health", "worker").returncode == 3
        assert made.call("health", "beat").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [(("worker",), 4), (("worker", "--queue", "submit"), 2), (("beat",), 1)],
)
def test_processes_at_work_are_seen(
    here: Installation, arguments: tuple[str, ...], processes: int
) -> None:
    def found() -> int:
        done = here.call("health", *arguments, "--json")
        return int(json.loads(done.stdout)["processes"]) if done.returncode == 0 else 0

    until(lambda: found() == processes)


def test_a_beat_that_stands_still_is_no_beat(here: Installation) -> None:
    (beat,) = processes_of(here.folder, "beat-schedule")
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


def test_a_killed_worker_is_missed_at_once(here: Installation) -> None:
    killed = set(processes_of(here.folder, "worker-submit@"))
    for pid in killed:
        os.kill(pid, signal.SIGSTOP)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not killed & set(processes_of(here.folder, "worker-submit@")))
    folder = here.folder / "data" / "processes"
    names = {path.name for path in folder.glob("*.lock")}
    done = here.call("health", "worker", "--queue", "submit")
    came_back = {path.name for path in folder.glob("*.lock")} - names
    assert done.returncode == 3 or came_back, done.stdout
    until(lambda: here.call("health", "worker", "--queue", "submit").returncode == 0)


def test_ready_tells_what_is_missing(here: Installation, tmp_path: Path) -> None:
    assert here.call("health", "ready").returncode == 0
    elsewhere = {"ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0"}
    alone = Installation(tmp_path, here.base_url, elsewhere)
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


def test_one_exporter_serves_the_figures_of_all(here: Installation) -> None:
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
    # Those that were killed a moment ago count for a while yet.
    assert samples["orchestrator_worker_processes", "yes"] >= 2
    assert samples["orchestrator_worker_processes", "no"] == 2
    assert samples["orchestrator_broker_up",] == 1
    assert ("orchestrator_queue_messages", "submit") in samples
    printed = here.call("metrics")
    assert printed.returncode == 0
    assert 'orchestrator_worker_processes{buys="no"} 2.0' in printed.stdout


def test_an_exporter_without_broker_or_tables_says_so(here: Installation, tmp_path: Path) -> None:
    away = {
        "ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0",
        "ORCHESTRATOR_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}",
    }
    with exporter(Installation(tmp_path, here.base_url, away)) as url:
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "orchestrator db upgrade" in ready.json()["database"]
        assert "ORCHESTRATOR_BROKER_URL" in ready.json()["broker"]
        assert httpx.get(f"{url}/healthz").status_code == 200
        figures = httpx.get(f"{url}/metrics").text
    assert "orchestrator_database_up 0.0" in figures
    assert "orchestrator_broker_up 0.0" in figures
