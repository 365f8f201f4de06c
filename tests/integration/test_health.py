"""What restarts processes asks whether they are at work, and is told the truth."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
