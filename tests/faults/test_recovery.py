"""A lost database, lost answers and lost money: recover, reconcile, resolve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.installation import Installation, until
from tests.support.processes import CELERY, processes_of
from tests.support.sandbox import Sandbox, sandbox


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.5") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    provider.faults()
    return Installation(tmp_path, provider.base_url)


def kill_everything(here: Installation, *more: int) -> None:
    """All of an installation's processes at once, until none is left."""
    for pid in more:
        os.kill(pid, signal.SIGKILL)

    def none_left() -> bool:
        left = processes_of(here.folder, "orchestrator") + processes_of(here.folder, CELERY)
        left += processes_of(here.folder, "valkey")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    until(none_left)


def lose_database(here: Installation) -> None:
    for path in (here.folder / "data").glob("orchestrator.db*"):
        path.unlink()


def test_a_database_lost_in_the_middle_comes_back_without_a_charge(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    here.extra["ORCHESTRATOR_REQUESTS_PER_SECOND"] = "20"
    spec = here.prompts("lost.csv", 60)
    running = here.start("run", spec)
    until(lambda: provider.charges >= before + 20)
    kill_everything(here, running.pid)
    running.communicate()
    bought = provider.charges
    lose_database(here)

    refused = here.call("run", spec, "--json")
    assert refused.returncode == 5
    assert json.loads(refused.stderr)["error"]["code"] == "recover_first"
    recovered = here.call("recover", spec, "--json")
    assert recovered.returncode == 0, recovered.stderr
    report = json.loads(recovered.stdout)
    found = report["ended"] + report["by_task"] + report["by_key"]
    assert found >= bought - before
    assert provider.charges == bought
    assert here.status("lost")["state"] == "paused"

    assert here.call("resume", "lost").returncode == 0
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 60
    assert provider.ledger()["charged_twice"] == 0
    assert all(row["video_urls"] for row in here.results("lost"))
    checked = here.call("reconcile", "lost", "--json")
    assert checked.returncode == 0, checked.stdout


def test_a_data_directory_lost_whole_still_finds_its_journal(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    here.extra |= {"ORCHESTRATOR_JOURNAL_DIR": "", "XDG_STATE_HOME": str(here.folder / "state")}
    spec = here.prompts("gone.csv", 5)
    assert here.call("run", spec).returncode == 0
    shutil.rmtree(here.folder / "data")
    assert here.call("submit", spec).returncode == 5
    assert here.call("recover", spec).returncode == 0
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 5
    assert len(here.results("gone")) == 5


def test_a_database_put_back_from_a_backup_learns_what_it_missed(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("backup.csv", 4)
    assert here.call("run", spec).returncode == 0
    # SQLite's own way to copy a database whose log is not in the file yet.
    kept = here.folder / "kept.db"
    with closing(sqlite3.connect(here.folder / "data" / "orchestrator.db")) as live:
        live.execute("VACUUM INTO ?", [str(kept)])
    spec = here.prompts("backup.csv", 9)
    assert here.call("run", spec).returncode == 0
    lose_database(here)
    kept.replace(here.folder / "data" / "orchestrator.db")

    refused = here.call("run", spec, "--json")
    assert refused.returncode == 5
    assert json.loads(refused.stderr)["error"]["code"] == "recover_first"
    report = json.loads(here.call("recover", spec, "--json").stdout)
    assert (report["ended"], report["known"]) == (5, 4)
    assert here.call("resume", "backup").returncode == 0
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 9
    assert all(row["video_urls"] for row in here.results("backup"))


def test_an_edited_row_is_not_bought_beside_the_version_that_was_sent(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    rows = [["id", "prompt"], ["a", "a kite"], ["b", "a boat"]]
    assert here.call("run", here.write("edit.csv", rows)).returncode == 0
    lose_database(here)
    here.write("edit.csv", [rows[0], ["a", "a red kite"], rows[2]])
    report = json.loads(here.call("recover", "edit.csv", "--json").stdout)
    assert report["not_in_spec"] == 1
    here.call("resume", "edit")
    assert here.call("run", "edit.csv").returncode == 0
    assert provider.charges == before + 2
    states = sorted((row["row_key"], row["state"]) for row in here.results("edit"))
    assert states == [("a", "succeeded"), ("a", "withdrawn"), ("b", "succeeded")]


def test_without_a_journal_rows_are_asked_again_only_within_retention(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("bare.csv", 4)
    assert here.call("run", spec).returncode == 0
    lose_database(here)
    shutil.rmtree(here.folder / "journal")
    nothing = here.call("recover", spec)
    assert nothing.returncode == 5
    assert "--first-sent-after" in nothing.stderr
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    old = here.call("recover", spec, "--first-sent-after", long_ago, "--label", "old", "--json")
    assert old.returncode == 5
    assert json.loads(old.stdout)["for_person"] == 4
    lately = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert here.call("recover", spec, "--first-sent-after", lately).returncode == 0
    here.call("resume", "bare@default")
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 4, "the same keys brought the same tasks"
    assert all(row["video_urls"] for row in here.results("bare@default"))


def test_a_damaged_journal_makes_rows_without_a_trace_be_asked_again(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("torn.csv", 6)
    assert here.call("run", spec).returncode == 0
    lose_database(here)
    for path in (here.folder / "journal").glob("*.journal"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(b"00000000 {}\n" if b"r3" in line else line for line in lines))
    assert here.call("journal", "check").returncode == 5
    report = json.loads(here.call("recover", spec, "--json").stdout)
    assert report["damage"]
    assert report["by_key"] == 1
    here.call("resume", "torn")
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 6
    assert len(here.results("torn")) == 6


def test_recover_is_refused_while_workers_run(here: Installation, provider: Sandbox) -> None:
    here.extra["ORCHESTRATOR_FLOWER_PORT"] = "0"
    spec = here.prompts("busy.csv", 3)
    up = here.start("up", "--no-flower")
    here.call("submit", spec)
    assert here.call("watch", "busy", "--exit-status").returncode == 0
    refused = here.call("recover", spec, "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"]["code"] == "workers_running"
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)
    assert here.call("recover", spec).returncode == 0, "and harmless when nothing was lost"
    assert here.call("resume", "busy").returncode == 0


def test_two_recovers_at_once_and_a_retry_of_a_running_batch(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    spec = here.prompts("pair.csv", 8)
    assert here.call("run", spec).returncode == 0
    lose_database(here)
    pair = [here.start("recover", spec) for _ in range(2)]
    said = [one.communicate(timeout=60)[0] for one in pair]
    assert {one.returncode for one in pair} <= {0, 2}, said
    assert 0 in {one.returncode for one in pair}, said
    assert "Traceback" not in "".join(said)
    assert here.call("resume", "pair").returncode == 0
    assert here.call("retry", "pair").returncode == 0, "nothing failed, so nothing is bought"
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 8


def test_a_compacted_journal_recovers_the_same(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    spec = here.prompts("small.csv", 8)
    assert here.call("run", spec).returncode == 0
    compacted = json.loads(here.call("journal", "compact", "--json").stdout)
    assert compacted["files_before"] >= 2
    assert compacted["files_after"] == 1
    lose_database(here)
    report = json.loads(here.call("recover", spec, "--json").stdout)
    assert (report["ended"], report["damage"]) == (8, [])
    assert here.call("run", spec).returncode in (0, 5)
    assert provider.charges == before + 8


def test_reconcile_tells_every_difference(here: Installation, provider: Sandbox) -> None:
    spec = here.prompts("books.csv", 4)
    provider.faults({"on": "poll", "kind": "no_cost", "match": "books.csv: a red kite, take 2"})
    assert here.call("run", spec).returncode == 0
    assumed = [row["cost_assumed"] for row in here.results("books")]
    assert assumed == [None, None, "0.0414", None]
    first = here.call("reconcile", "books", "--json")
    assert first.returncode == 6
    (difference,) = json.loads(first.stdout)["differences"]
    assert (difference["kind"], difference["row_key"]) == ("assumed", "r2")
    provider.faults()
    named = here.call("reconcile", "books", "--format", "csv")
    assert named.returncode == 6
    assert "assumed" in named.stdout
    clean = here.call("reconcile", "books", "--json")
    assert clean.returncode == 0, "the cost that is named now was taken over"
    assert [row["cost_actual"] for row in here.results("books")] == ["0.0414"] * 4

    provider.faults(
        {"on": "poll", "kind": "cost_above_estimate", "match": "books.csv: a red kite, take 1"}
    )
    drifted = json.loads(here.call("reconcile", "books", "--json").stdout)
    assert [one["field"] for one in drifted["differences"]] == ["cost_actual"]
    provider.faults({"on": "poll", "kind": "not_found_404", "count": 1})
    missing = json.loads(here.call("reconcile", "books", "--json").stdout)
    assert [one["kind"] for one in missing["differences"]] == ["missing"]


def test_every_verdict_ends_a_hold(here: Installation, provider: Sandbox) -> None:
    """Answers that are lost for longer than keys are remembered."""
    before = provider.charges
    here.extra["ORCHESTRATOR_KEY_RETENTION"] = "10s"
    here.extra["ORCHESTRATOR_REQUEST_TIMEOUT"] = "2s"
    spec = here.prompts("dark.csv", 5)
    assert here.call("run", spec, "--label", "price").returncode == 0
    provider.faults({"on": "submit", "kind": "lost_answer_after_commit"})
    stuck = here.call("run", spec)
    assert stuck.returncode == 5, stuck.stdout
    bought = provider.charges
    assert bought == before + 10
    provider.faults()
    status = here.status("dark@default")
    assert status["counts"]["unknown"] == 5  # type: ignore[index]
    assert status["cost"]["held"] == "0.207"  # type: ignore[index]

    listed = here.call("resolve", "dark@default", "--json")
    assert listed.returncode == 5
    waiting = json.loads(listed.stdout)["waiting"]
    assert [one["needs_person"] for one in waiting] == ["key_expired"] * 5
    tasks = {str(row[0]): str(row[1]) for row in ledger_rows(provider)}

    def resolve(*arguments: str) -> int:
        return here.call("resolve", "dark@default", *arguments).returncode

    adopted = f"r0={tasks[waiting[0]['idempotency_key']]}"
    assert resolve("--task-id", adopted, "--not-charged") == 2, "one verdict at a time"
    assert resolve("--task-id", adopted) == 5, "four still wait"
    assert resolve("--row", "r1", "--charged", "0.0414") == 5
    assert resolve("--row", "r2", "--not-charged") == 5
    assert resolve("--row", "r3", "--accept-double-charge") == 5
    assert resolve("--row", "nobody", "--not-charged") == 2
    assert resolve("--charged", "0.05") == 0, "the last one"
    here.extra["ORCHESTRATOR_KEY_RETENTION"] = "24h"
    ended = here.call("run", spec)
    assert ended.returncode == 1
    results = {str(row["row_key"]): row for row in here.results("dark@default")}
    assert {key: row["state"] for key, row in results.items()} == {
        "r0": "succeeded",
        "r1": "failed",
        "r2": "succeeded",
        "r3": "succeeded",
        "r4": "failed",
    }
    assert results["r3"]["generation"] == 1
    assert results["r3"]["cost_assumed"] == "0.0414"
    assert here.status("dark@default")["cost"]["held"] == "0"  # type: ignore[index]
    assert provider.charges == bought + 1, "only the second purchase that was accepted"
    shown = json.loads(here.call("history", "dark@default", "r3", "--json").stdout)
    assert [one["state"] for one in shown["purchases"]] == ["failed", "succeeded"]


def ledger_rows(provider: Sandbox) -> list[list[object]]:
    """(idempotency key, task id) of every charge."""
    shown = httpx.get(f"{provider.root}/_sandbox/ledger?rows=1").json()
    return [[row["idempotency_key"], row["task_id"]] for row in shown["rows"]]
