"""Processes that are killed or told to stop in the middle of a chunk."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.installation import Installation, until
from tests.support.processes import (
    BUYER,
    CELERY,
    broker_of,
    children_of,
    forker_of,
    main_process,
    processes_of,
    supervisor_of,
)
from tests.support.sandbox import Sandbox, sandbox


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "1") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    slow = {"ORCHESTRATOR_REQUESTS_PER_SECOND": "12", "ORCHESTRATOR_FLOWER_PORT": "0"}
    return Installation(tmp_path, provider.base_url, slow)


def test_a_broker_killed_in_a_chunk_is_survived(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    running = here.start("run", here.prompts("broker.csv", 40))
    until(lambda: provider.charges >= before + 5)
    worker = main_process(here.folder, BUYER)
    os.kill(broker_of(here.folder), signal.SIGKILL)
    until(lambda: provider.charges >= before + 30)
    assert main_process(here.folder, BUYER) == worker, "the worker outlived its broker"
    output, _ = running.communicate(timeout=150)
    assert running.returncode == 0, output
    assert provider.charges == before + 40
    assert provider.ledger()["charged_twice"] == 0


def test_without_what_they_are_forks_of_all_begin_anew(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    running = here.start("run", here.prompts("forker.csv", 40))
    until(lambda: provider.charges >= before + 5)
    buyer, forker = main_process(here.folder, BUYER), forker_of(here.folder)
    os.kill(forker, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{buyer}").exists())
    output, _ = running.communicate(timeout=150)
    assert running.returncode == 0, output
    assert provider.charges == before + 40
    assert provider.ledger()["charged_twice"] == 0


def test_a_supervisor_that_dies_while_its_workers_begin_leaves_none_behind(
    here: Installation,
) -> None:
    up = here.start("up", "--no-flower")
    until(lambda: processes_of(here.folder, CELERY) != [])
    # It is still importing: what it is asked to fork waits until it goes on.
    forker = forker_of(here.folder)
    os.kill(forker, signal.SIGSTOP)
    time.sleep(4)
    os.kill(supervisor_of(here.folder), signal.SIGKILL)
    os.kill(forker, signal.SIGCONT)
    up.communicate(timeout=60)
    time.sleep(4)
    until(lambda: processes_of(here.folder, CELERY) == [])


def test_what_forks_never_opens_the_database(here: Installation, provider: Sandbox) -> None:
    """A SQLite forked in the middle of a write takes itself for locked for ever."""
    before = provider.charges
    running = here.start("run", here.prompts("forks.csv", 12))
    until(lambda: provider.charges >= before + 3)
    worker = main_process(here.folder, BUYER)
    opened = {str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir()}
    assert not [path for path in opened if "orchestrator.db" in path]
    child = children_of(worker)[0]
    assert any("orchestrator.db" in str(p.readlink()) for p in Path(f"/proc/{child}/fd").iterdir())
    running.communicate(timeout=150)


def test_sigterm_records_the_running_chunk(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    up = here.start("up", "--no-flower")
    assert here.call("submit", here.prompts("term.csv", 24)).returncode == 0
    until(lambda: provider.charges >= before + 3)
    os.kill(main_process(here.folder, BUYER), signal.SIGTERM)
    watched = here.call("watch", "term", "--exit-status")
    assert watched.returncode == 0, watched.stdout
    up.send_signal(signal.SIGTERM)
    rest, _ = up.communicate(timeout=60)
    assert "worker-submit ended (code 0)" in rest
    assert provider.charges == before + 24
    for position in range(1, 25, 6):
        assert history(here, position).count("claim") == 1, "its first answer was recorded"


def history(here: Installation, position: int) -> list[str]:
    shown = json.loads(here.call("history", "term", str(position), "--json").stdout)
    return [line["event"] for line in shown["history"]]


def test_flower_shows_labelled_chunks_to_who_may_see(here: Installation, provider: Sandbox) -> None:
    up = here.start("up", "--json")
    assert up.stdout is not None
    first = next(line for line in up.stdout if line.startswith("{"))
    flower = json.loads(first)["flower"]
    user, _, password = flower["credentials"].partition(":")
    until(lambda: reachable(flower["url"]))
    assert httpx.get(f"{flower['url']}/api/tasks").status_code == 401

    assert here.call("submit", here.prompts("shown.csv", 5)).returncode == 0
    assert here.call("watch", "shown", "--exit-status").returncode == 0
    seen = httpx.get(f"{flower['url']}/api/tasks", auth=(user, password))
    chunks = [task for task in seen.json().values() if task["name"] == "workers.submit_chunk"]
    assert any(re.search(r"shown@default rows 1-5", task["args"]) for task in chunks)
    assert "red kite" not in seen.text

    def batch_row() -> dict[str, object]:
        tasks = httpx.get(f"{flower['url']}/api/tasks", auth=(user, password)).json()
        found: dict[str, object] = tasks.get(row_id, {})
        return found

    (row_id,) = [key for key, task in seen.json().items() if task["name"].startswith("batch:")]
    until(lambda: batch_row()["state"] == "SUCCESS")
    assert batch_row()["name"] == "batch:shown@default"
    assert batch_row()["args"] == "5/5 done"
    assert json.loads(str(batch_row()["kwargs"]))["spent"] == "0.207"
    here.prompts("shown.csv", 30)
    assert here.call("submit", "shown.csv").returncode == 0
    until(lambda: batch_row()["state"] == "PROGRESS")
    until(lambda: batch_row()["state"] == "SUCCESS")
    assert batch_row()["result"] == "30/30 done, $1.242"
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)


def reachable(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthcheck").status_code == 200
    except httpx.TransportError:
        return False
