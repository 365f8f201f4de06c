"""Specs in every form through the commands a person types, up to the recorded batch."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        (["--no-such"], "--no-such"),
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


@pytest.mark.parametrize("target", ["", ".", "no/such/folder.csv", "folder", "loop", "table.csv"])
@pytest.mark.parametrize("command", ["validate", "submit"])
def test_a_place_for_rejects_that_will_not_do_is_refused_before_anything(
    typed: Typed, command: str, target: str
) -> None:
    Path("my.csv").write_text("prompt\nA cat\n")
    Path("table.csv").write_text("product\nlamp\n")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    code, out, said = typed(command, "my.csv", "--rejects", target, "--json")
    assert (code, out) == (2, ""), said
    assert json.loads(said.splitlines()[-1])["error"]["mend"]
    assert Path("table.csv").read_text() == "product\nlamp\n"
    if command == "submit":
        assert json.loads(typed("batches", "--json")[1]) == []


def test_what_is_written_follows_links_and_leaves_pipes_pipes(typed: Typed) -> None:
    Path("my.csv").write_text("id,prompt\na,\n")
    Path("real.csv").write_text("")
    Path("link.csv").symlink_to("real.csv")
    assert typed("validate", "my.csv", "--rejects", "link.csv")[0] == 2
    assert Path("link.csv").is_symlink()
    assert "is missing" in Path("real.csv").read_text()
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as threads:
        read = threads.submit(Path("pipe").read_text)
        assert typed("validate", "my.csv", "--rejects", "pipe")[0] == 2
        assert "is missing" in read.result(timeout=60)
    assert Path("pipe").is_fifo()


def test_edited_own_columns_come_back_and_buy_nothing(typed: Typed) -> None:
    Path("my.csv").write_text("id,prompt,x_owner\na,A,Ann\nb,B,Bob\n")
    assert typed("submit", "my.csv")[0] == 0
    Path("my.csv").write_text("id,prompt,x_owner,x_due\na,A,Eve,May\nb,B,Bob,\n")
    told = json.loads(typed("submit", "my.csv", "--json")[1])
    assert (told["added"], told["known"], told["changed"], told["total"]) == (0, 2, 0, 2)
    rows = json.loads(typed("results", "my", "--json")[1])
    assert [(row["x_owner"], row["x_due"]) for row in rows] == [("Eve", "May"), ("Bob", "")]


def test_bad_rows_are_carried_along(typed: Typed) -> None:
    Path("my.csv").write_text(
        "id,prompt,duration,x_owner\na,A,5,Ann\nb,B,7,Bob\n,,5,Cid\n,,5,Cid\n"
    )
    assert typed("submit", "my.csv")[0] == 2
    first = ("submit", "my.csv", "--skip-invalid", "--json", "--rejects", "bad.csv")
    code, out, _ = typed(*first)
    told = json.loads(out)
    assert (code, told["added"], told["invalid"], told["total"]) == (0, 1, 3, 4)
    assert Path("bad.csv").read_text().count("\n") == 4
    rows = json.loads(typed("results", "my", "--json")[1])
    assert [row["state"] for row in rows] == ["pending", "invalid", "invalid", "invalid"]
    assert (rows[1]["row_key"], rows[1]["x_owner"], rows[1]["duration"]) == ("b", "Bob", "7")
    assert rows[1]["error_code"] == "invalid_row"
    assert rows[1]["error_message"].startswith("duration 7: ")
    assert len({row["row_key"] for row in rows}) == 4
    again = json.loads(typed(*first)[1])
    assert (again["added"], again["known"], again["invalid"], again["total"]) == (0, 1, 3, 4)
    planned = json.loads(typed("plan", "my.csv", "--skip-invalid", "--json")[1])
    assert [planned[key] for key in ("rows", "new", "known", "removed", "invalid")] == [
        4,
        0,
        1,
        0,
        3,
    ]
    assert typed("retry", "my", "--yes")[0] == 0
    # The pending row is broken now, the broken one mended, and the nameless ones are gone.
    Path("my.csv").write_text("id,prompt,duration,x_owner\na,A,6,Ann\nb,B,10,Bob\n")
    told = json.loads(typed("submit", "my.csv", "--skip-invalid", "--json")[1])
    assert (told["added"], told["invalid"], told["withdrawn"], told["total"]) == (1, 1, 1, 2)
    assert (told["counts"]["pending"], told["counts"]["invalid"]) == (1, 1)
    Path("my.csv").write_text("id,prompt,duration,x_owner\na,A,5,Ann\nb,B,10,Bob\n")
    told = json.loads(typed("submit", "my.csv", "--json")[1])
    assert (told["counts"]["pending"], told["counts"]["invalid"], told["total"]) == (2, 0, 2)


@pytest.mark.parametrize(
    "text", ["prompt,duration\nA,7\n", 'prompt,duration\nA,5\n"B,5\nC,5\nD,5\n', "prompt,q\nA,5\n"]
)
def test_what_skipping_cannot_save_is_refused(typed: Typed, text: str) -> None:
    """No good row at all, rows that nobody can tell apart any more, a wrong header."""
    Path("my.csv").write_text(text)
    code, _, said = typed("submit", "my.csv", "--skip-invalid")
    assert code == 2, said
    assert json.loads(typed("batches", "--json")[1]) == []


@pytest.mark.slow
def test_ctrl_c_while_a_long_spec_is_read_leaves_nothing(here: Installation) -> None:
    name = here.prompts("long.csv", 30_000)
    reading = here.start("submit", name)
    assert reading.stdout is not None
    assert any('"reading"' in line for line in reading.stdout), "it was told how far it is"
    reading.send_signal(signal.SIGINT)
    said, _ = reading.communicate(timeout=60)
    assert reading.returncode == 130, said
    assert "nothing of it was recorded" in said
    assert json.loads(here.call("batches", "--json").stdout) == []
    again = json.loads(here.call("submit", name, "--json").stdout)
    assert (again["added"], again["counts"]["pending"]) == (30_000, 30_000)
