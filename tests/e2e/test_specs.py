"""Specs in every form through the commands a person types, up to the recorded batch."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.app import invoke
from tests.support.installation import COMMAND, Installation
from tests.support.workbook import workbook

Typed = Callable[..., tuple[int, str, str]]
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
        "my.csv.gz": gzip.compress(TABLE.encode(), mtime=0),
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


@pytest.fixture
def typed(
    here: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Run a command that needs no process of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(here.folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = invoke(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_options_that_cannot_be_are_refused(here: Installation, typed: Typed) -> None:
    (here.folder / "my.csv").write_text(TABLE)
    for options, told in (
        (["--encoding", "nope"], "not an encoding"),
        (["--delimiter", "ab"], "cannot separate"),
        (["--keep", "size"], "kept anyway"),
        ([], "give --keep"),
        (["--skip-invalid"], "--skip-invalid"),
    ):
        code, _, said = typed("validate", "my.csv", *options)
        assert (code, told in said) == (2, True), said


@pytest.mark.parametrize("command", ["validate", "submit"])
def test_all_problems_are_in_the_file_of_rejects(here: Installation, command: str) -> None:
    bad = "".join(f"r{n},,7\n" for n in range(90))
    (here.folder / "my.csv").write_text(f"id,prompt,duration\n{bad}ok,A cat,5\n")
    done = here.call(command, "my.csv", "--rejects", "bad.csv")
    assert done.returncode == 2
    assert "80 more" in done.stderr
    assert done.stderr.count("my.csv:") == 100
    with (here.folder / "bad.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert len(told) == 180
    assert told[1] == {
        "file": "my.csv", "line": "2", "column": "3", "field": "duration", "value": "7",
        "message": "must be 5 or 10", "mend": "Write 5 or 10.",
    }  # fmt: skip
    (here.folder / "my.csv").write_text("prompt\nA cat\n")
    assert here.call(command, "my.csv", "--rejects", "bad.csv").returncode == 0
    assert (here.folder / "bad.csv").read_text().count("\n") == 1


def test_rejects_of_a_file_that_cannot_be_read(here: Installation, typed: Typed) -> None:
    code, out, _ = typed("validate", "gone.csv", "--json", "--rejects", "bad.jsonl")
    assert code == 2
    problem = json.loads((here.folder / "bad.jsonl").read_text())
    assert "there is no file" in problem["message"]
    assert json.loads(out)["problems"] == [problem]
    (here.folder / "my.csv").write_text(TABLE)
    assert typed("validate", "my.csv", "--rejects", "my.csv")[0] == 2
    assert (here.folder / "my.csv").read_text() == TABLE
    code, _, said = typed("validate", "my.csv", "--rejects", "no/such/folder.csv", "--keep", "sku")
    assert (code, "cannot be written" in said) == (2, True)
