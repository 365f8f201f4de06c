"""`batches archive`: the bulk goes, nothing is bought twice, every total stays."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.sandbox import Sandbox, sandbox


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--queue", "0.1", "--median", "0.2") as one:
        yield one


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    return Installation(tmp_path, provider.base_url)


def test_an_archived_batch_is_recognised_and_adds_up(here: Installation, provider: Sandbox) -> None:
    spec = here.prompts("old.csv", 5)
    assert here.call("run", spec).returncode == 0
    bought, before = provider.charges, here.status("old")
    kept = [(row["idempotency_key"], row["task_id"]) for row in here.results("old")]

    assert here.call("batches", "archive").returncode == 2
    assert here.call("batches", "archive", "--older-than", "soon").returncode == 2
    none = here.call("batches", "archive", "--older-than", "90d", "--json", "--yes")
    assert json.loads(none.stdout)["batches"] == []
    assert here.call("batches", "archive", "old").returncode == 2, "nobody said yes"
    done = json.loads(here.call("batches", "archive", "old", "--yes", "--json").stdout)
    assert (done["batches"], done["rows"], done["inputs"]) == (["old@default"], 5, 5)
    assert (done["outputs"], done["history"] > 5) == (5, True)

    after = here.status("old")
    assert after.pop("archived_at") is not None
    before.pop("archived_at")
    assert after == before
    shown = here.call("results", "old", "--format", "json")
    assert "is archived" in shown.stderr
    rows = json.loads(shown.stdout)
    assert [(row["idempotency_key"], row["task_id"]) for row in rows] == kept
    assert [(row["state"], row["video_urls"]) for row in rows] == [("succeeded", [])] * 5
    assert json.loads(here.call("batches", "--json").stdout) == [here.status("old")]
    assert "old@default" in here.call("batches").stdout

    again = here.call("run", spec, "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    reconciled = here.call("reconcile", "old", "--json")
    assert reconciled.returncode == 0, reconciled.stdout
    assert here.call("recover", spec).returncode == 0
    assert here.status("old")["state"] == "finished"
    more = here.write(
        "old.csv",
        [["id", "prompt"], *([f"r{i}", f"old.csv: a red kite, take {i}"] for i in range(6))],
    )
    assert here.call("resume", "old").returncode in (0, 2)
    assert here.call("run", more).returncode == 0
    assert provider.charges == bought + 1
    assert provider.ledger()["charged_twice"] == 0
    with closing(sqlite3.connect(here.folder / "data" / "orchestrator.db")) as db:
        assert db.execute("SELECT count(*) FROM inputs").fetchone() == (1,)
