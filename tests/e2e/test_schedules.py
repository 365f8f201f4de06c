"""Schedules as a person types them, with a real beat, real workers and real deaths."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.support.ageing import end_leases, end_readings, end_reservations, make_due
from tests.support.installation import Installation, until
from tests.support.processes import CELERY, processes_of
from tests.support.sandbox import Sandbox, sandbox

ROWS = 20
BIG = 12_000


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.5") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    calm = {"ORCHESTRATOR_REQUESTS_PER_SECOND": "15", "ORCHESTRATOR_FLOWER_PORT": "0"}
    return Installation(tmp_path, provider.base_url, calm)


def url(here: Installation) -> str:
    return f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}"


def value(here: Installation, query: str) -> object:
    engine = create_engine(url(here))
    with engine.connect() as conn:
        found = conn.execute(text(query)).scalar_one_or_none()
    engine.dispose()
    return found


def show(here: Installation, name: str) -> dict[str, object]:
    done = here.call("schedule", "show", name, "--runs", "50", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def labels(here: Installation, name: str) -> list[str]:
    return sorted(run["label"] for run in show(here, name)["runs"])  # type: ignore[attr-defined]


def batches(here: Installation) -> list[str]:
    done = here.call("batches", "--json")
    return sorted(one["batch"] for one in json.loads(done.stdout))


def test_triggers_beats_and_deaths_make_one_batch_a_minute(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    # A trigger is killed while it reads a long spec: the minute is won, the batch is not there.
    here.prompts("big.csv", BIG)
    added = here.call("schedule", "add", "big", "big.csv", "--cron", "@yearly", "--budget", "0.05")
    assert added.returncode == 0, added.stderr
    killed = here.start("schedule", "trigger", "big")
    until(lambda: value(here, "SELECT count(*) FROM revisions") == 1)
    killed.kill()
    killed.communicate()
    assert value(here, "SELECT state FROM occurrences") == "waiting"
    here.write("big.csv", [["prompt"], ["an edit that counts from the next run"]])

    nominal = datetime.now(UTC).replace(second=0, microsecond=0)
    cron = f"{nominal.minute} {nominal.hour} * * *"
    here.prompts("night.csv", ROWS)
    here.call("schedule", "add", "nightly", "night.csv", "--cron", cron, "--overlap", "allow")
    up = here.start("up", "--no-flower")
    try:
        # The beat, and two people, in one minute.
        make_due(url(here), "nightly", round(nominal.timestamp() * 1000))
        triggers = [here.start("schedule", "trigger", "nightly", "--json") for _ in range(2)]
        told = [json.loads(one.communicate(timeout=60)[0].splitlines()[-1]) for one in triggers]
        expected = {nominal.strftime("%Y-%m-%dT%H:%MZ")} | {one["label"] for one in told}
        until(lambda: provider.charges >= before + 5)
        for pid in processes_of(here.folder, CELERY):
            os.kill(pid, signal.SIGKILL)
        end_readings(url(here))
        end_reservations(url(here))
        end_leases(url(here))
        until(lambda: show(here, "big")["runs"][0]["state"] == "made")  # type: ignore[index]
        for label in expected:
            watched = here.call("watch", f"night@{label}", "--exit-status")
            assert watched.returncode == 0, watched.stderr
        until(lambda: set(labels(here, "nightly")) >= expected)
        until(lambda: provider.charges >= before + ROWS * len(expected) + 1)
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert set(labels(here, "nightly")) == expected
    (big,) = labels(here, "big")
    assert batches(here) == sorted([f"big@{big}", *(f"night@{label}" for label in expected)])
    assert here.status(f"big@{big}")["total"] == BIG, "the spec as it was when the minute was won"
    assert provider.charges == before + ROWS * len(expected) + 1, "and one of the long one's budget"


def test_a_schedule_from_its_adding_to_its_removal(here: Installation) -> None:
    spec = here.prompts("night.csv", 2)
    add = ("schedule", "add", "nightly", spec, "--cron")
    wrong = here.call(*add, "0 25 * * *", "--tz", "Europe/Berln", "--json")
    assert wrong.returncode == 2
    error = json.loads(wrong.stderr)["error"]
    assert "the hour '25' (field 2)" in error["message"]
    assert "Europe/Berlin" in error["mend"]
    added = here.call(*add, "0 2 * * *", "--tz", "Europe/Berlin", "--budget", "20")
    assert added.returncode == 0, added.stderr
    assert "At 02:00 (0 2 * * *, Europe/Berlin)" in added.stdout
    assert added.stdout.count("next:") == 5
    assert here.call(*add, "0 2 * * *").returncode == 2, "two schedules of one name"
    paused = json.loads(here.call("schedule", "pause", "nightly", "--json").stdout)
    assert (paused["state"], paused["next"]) == ("paused", [])
    assert "next: " in here.call("schedule", "resume", "nightly").stdout
    assert here.call("schedule", "trigger", "nightly").returncode == 0
    (here.folder / "schedules.yaml").write_text(
        "schedules:\n  hourly:\n    spec: night.csv\n    name: hour\n    cron: '@hourly'\n"
    )
    applied = here.call("schedule", "apply", "schedules.yaml")
    assert applied.stdout.startswith("+ hourly: Every hour")
    assert "nightly is not in the file, and stays" in applied.stdout
    removed = here.call("schedule", "remove", "nightly")
    assert "goes on" in removed.stdout, "its batch is not finished"
    (left,) = json.loads(here.call("schedule", "list", "--json").stdout)
    assert left["schedule"] == "hourly"
