"""Specs in every form through the commands a person types, up to the recorded batch."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.installation import COMMAND, Installation
from tests.support.workbook import workbook

TABLE = "id,prompt,size,x_owner,sku\nr1,A cat,9:16,Ann,7\nr2,A dog,1:1,,8\n"
LINES = (
    '{"id": "r1", "prompt": "A cat", "size": "9:16", "x_owner": "Ann", "sku": 7}\n'
    '{"id": "r2", "prompt": "A dog", "size": "1:1", "x_owner": "", "sku": 8}\n'
)
TREE = "name: my\nrows: t.csv\nkeep: sku\nprompt: A {what}\n"
PARTS = "id,what,size,x_owner,sku\nr1,cat,9:16,Ann,7\nr2,dog,1:1,,8\n"
SHEET = workbook([line.split(",") for line in TABLE.splitlines()])


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(tmp_path, "http://127.0.0.1:9/api/v1")


@pytest.mark.slow
def test_one_batch_in_every_form(here: Installation) -> None:
    """Each form has the same keys, so that after the first nothing is new; own columns return."""
    (here.folder / "t.csv").write_text(PARTS)
    forms = {
        "my.csv": TABLE.encode(),
        "my.jsonl": LINES.encode(),
        "my.csv.gz": gzip.compress(TABLE.encode()),
        "my.xlsx": SHEET,
        "my.yaml": TREE.encode(),
    }
    for number, (name, content) in enumerate(forms.items()):
        (here.folder / name).write_bytes(content)
        keep = [] if name == "my.yaml" else ["--keep", "sku"]
        done = here.call("submit", name, *keep, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["added"], told["known"]) == ((2, 0) if number == 0 else (0, 2)), name
    piped = subprocess.run(
        [*COMMAND, "plan", "-", "--name", "my", "--keep", "sku", "--json"],
        input=LINES.encode(), cwd=here.folder, env=here.env, capture_output=True, check=True,
    )  # fmt: skip
    assert (json.loads(piped.stdout)["known"], json.loads(piped.stdout)["new"]) == (2, 0)
    rows = json.loads(here.call("results", "my", "--json").stdout)
    assert [(row["row_key"], row["x_owner"], row["sku"]) for row in rows] == [
        ("r1", "Ann", "7"), ("r2", "", "8"),
    ]  # fmt: skip


def test_options_that_cannot_be_are_refused(here: Installation) -> None:
    (here.folder / "my.csv").write_text(TABLE)
    for options, told in (
        (["--encoding", "nope"], "not an encoding"),
        (["--delimiter", "ab"], "cannot separate"),
        (["--keep", "size"], "kept anyway"),
    ):
        done = here.call("submit", "my.csv", *options)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    done = here.call("submit", "my.csv")
    assert (done.returncode, "--keep" in done.stderr or "x_" in done.stderr) == (2, True)
