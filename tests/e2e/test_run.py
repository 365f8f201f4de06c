"""`run` from a file to URLs and cost, through real workers, beat, broker and sandbox."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation, until
from tests.support.processes import (
    BUYER,
    CELERY,
    POLLER,
    SUPERVISOR,
    children_of,
    main_process,
    processes_of,
    supervisor_of,
)
from tests.support.sandbox import KEY, Sandbox, sandbox


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "1") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    provider.faults()
    return Installation(tmp_path, provider.base_url)


def last_event(output: str) -> dict[str, object]:
    event: dict[str, object] = json.loads(output.splitlines()[-1])
    return event


def test_a_spec_ends_as_videos_and_again_costs_nothing(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("launch.csv", 12)

    first = here.call("run", spec)
    assert first.returncode == 0, first.stderr
    ended = last_event(first.stdout)
    assert ended["state"] == "finished"
    assert ended["cost"]["actual"] == "0.4968"  # type: ignore[index]
    assert ended["cost"]["held"] == "0"  # type: ignore[index]
    assert provider.charges == before + 12
    results = here.results("launch")
    assert [row["state"] for row in results] == ["succeeded"] * 12
    assert all(row["video_urls"] for row in results)

    posts = provider.ledger()["posts"]
    again = here.call("run", spec)
    assert again.returncode == 0, again.stderr
    assert provider.ledger()["posts"] == posts
    assert here.results("launch") == results

    rows = [["id", "prompt"], *([f"r{i}", f"launch.csv: a red kite, take {i}"] for i in range(12))]
    random.Random(7).shuffle(rows[1:])
    here.write("launch.csv", [*rows, ["r12", "one more"]])
    added = here.call("run", spec)
    assert added.returncode == 0, added.stderr
    assert provider.ledger()["posts"] == int(str(posts)) + 1
    assert provider.charges == before + 13


def test_kill_nine_of_a_buying_process_costs_nothing(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    here.extra["ORCHESTRATOR_REQUESTS_PER_SECOND"] = "15"
    running = here.start("run", here.prompts("killed.csv", 40))
    until(lambda: provider.charges >= before + 5)
    for name in (BUYER, POLLER):
        for child in children_of(main_process(here.folder, name)):
            os.kill(child, signal.SIGKILL)
    output, _ = running.communicate(timeout=150)
    assert running.returncode == 0, output
    assert provider.charges == before + 40
    assert {row["state"] for row in here.results("killed")} == {"succeeded"}


def all_processes(here: Installation) -> list[int]:
    return processes_of(here.folder, SUPERVISOR) + processes_of(here.folder, CELERY)


def test_up_killed_and_started_again_finishes_without_a_second_charge(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    here.extra |= {"ORCHESTRATOR_REQUESTS_PER_SECOND": "15", "ORCHESTRATOR_FLOWER_PORT": "0"}
    up = here.start("up")
    submitted = here.call("submit", here.prompts("steady.csv", 40), "--json")
    assert submitted.returncode == 0, submitted.stderr
    assert json.loads(submitted.stdout)["added"] == 40
    until(lambda: provider.charges >= before + 5)
    os.kill(supervisor_of(here.folder), signal.SIGKILL)
    os.kill(up.pid, signal.SIGKILL)
    up.communicate()

    again = here.start("up", "--no-flower")
    watched = here.call("watch", "steady", "--exit-status")
    assert watched.returncode == 0, watched.stdout + watched.stderr
    again.send_signal(signal.SIGINT)
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 130, output
    assert provider.charges == before + 40
    until(lambda: not all_processes(here))


def test_a_refused_key_ends_with_three_and_a_mended_one_goes_on(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("keys.csv", 10)
    here.extra["MINDVIDEO_API_KEY"] = "mv_live_wrong"
    refused = here.call("run", spec)
    assert refused.returncode == 3, refused.stdout
    assert last_event(refused.stdout)["gate"]["reason"] == "unauthorized"  # type: ignore[index]
    assert "mv_live_wrong" not in refused.stdout + refused.stderr

    doctor = here.call("doctor")
    assert doctor.returncode == 3
    assert "refuses the API key" in doctor.stdout

    here.extra["MINDVIDEO_API_KEY"] = KEY
    mended = here.call("run", spec)
    assert mended.returncode == 0, mended.stderr
    assert provider.charges == before + 10


def test_a_budget_stops_before_it_is_passed_and_a_higher_one_goes_on(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("tight.csv", 10)
    stopped = here.call("run", spec, "--budget", "0.25")
    assert stopped.returncode == 4, stopped.stdout
    assert provider.charges == before + 6  # 6 × 0.0414 = 0.2484
    assert last_event(stopped.stdout)["gate"]["reason"] == "budget"  # type: ignore[index]

    too_low = here.call("run", spec, "--budget", "0.1")
    assert too_low.returncode == 2
    assert "0.2484 USD" in too_low.stderr

    on = here.call("run", spec, "--budget", "1")
    assert on.returncode == 0, on.stdout
    assert provider.charges == before + 10


def test_lost_answers_are_asked_again_not_bought_again(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "lost_answer_after_commit", "rate": 1.0, "count": 8})
    done = here.call("run", here.prompts("lost.csv", 12))
    assert done.returncode == 0, done.stdout
    ledger = provider.ledger()
    assert ledger["charges"] == before + 12
    assert ledger["charged_twice"] == 0


def test_ctrl_c_stops_in_order_and_says_how_to_go_on(here: Installation, provider: Sandbox) -> None:
    here.extra["ORCHESTRATOR_REQUESTS_PER_SECOND"] = "10"
    before = provider.charges
    running = here.start("run", here.prompts("stopped.csv", 60))
    until(lambda: provider.charges >= before + 3)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=90)
    assert running.returncode == 130, output
    assert "in flight" in output
    assert "orchestrator run" in output
    until(lambda: not all_processes(here))
