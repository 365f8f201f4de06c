"""What a spec may come in: gzip, encodings, told delimiters, JSON lines, workbooks, own columns."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest

from orchestrator.errors import SpecError, UsageError
from orchestrator.spec import Reading, SpecRow, check_encoding, open_spec, sources, xlsx_file
from tests.support.workbook import workbook
from tests.unit.spec.reading import Reader

TABLE = "id,prompt,size\nr1,Ein Mädchen 🎬,9:16\nr2,ein Hund,1:1\n"


def _rows(path: Path, how: Reading | None = None) -> list[SpecRow]:
    entries = list(open_spec(path, how or Reading()).rows())
    assert all(isinstance(entry, SpecRow) for entry in entries), entries
    return [entry for entry in entries if isinstance(entry, SpecRow)]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "A.CSV.GZ"])
def test_gzip_changes_nothing(read: Reader, name: str) -> None:
    plain = read(TABLE)
    packed = read(gzip.compress(TABLE.encode(), mtime=0), name)
    assert packed.rows == plain.rows
    assert list(packed.spec.rows()) == packed.rows  # again, from the same copy


def test_gzip_that_is_none_or_not_whole(read: Reader) -> None:
    whole = gzip.compress(TABLE.encode(), mtime=0)
    for content, message in (
        (TABLE.encode(), "not compressed"),
        (whole[:-9], "is not whole"),
        (whole[:10] + b"\xff" * 20, "is not whole"),
    ):
        with pytest.raises(SpecError, match=message):
            read(content, "a.csv.gz")


def test_a_bomb_does_not_fill_the_disk(
    read: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    monkeypatch.setattr(sources, "MAX_COPY", 1 << 20)
    with pytest.raises(SpecError, match="once it is unpacked"):
        read(gzip.compress(b"x" * (5 << 20)), "a.csv.gz")
    read(gzip.compress(TABLE.encode(), mtime=0), "b.csv.gz")
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_encodings_that_say_so_themselves_are_found(read: Reader, encoding: str) -> None:
    assert read(TABLE.encode(encoding)).rows == read(TABLE).rows
    assert read("prompts: [é]\n".encode(encoding), "a.yaml").inputs[0]["prompt"] == "é"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "latin-1", "mac-roman"])
def test_encodings_can_be_told(read: Reader, tmp_path: Path, encoding: str) -> None:
    text = TABLE.replace("🎬", "")
    plain = read(text).rows
    path = tmp_path / "told.csv"
    path.write_bytes(text.encode(encoding))
    assert _rows(path, Reading(encoding=check_encoding(encoding))) == plain


def test_a_told_encoding_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"prompt\nok\n\xff\n")
    with pytest.raises(SpecError, match="is not shift_jis in line 3"):
        open_spec(path, Reading(encoding=check_encoding("shift_jis")))


@pytest.mark.parametrize("name", ["rot13", "hex", "base64", "idna", "utf-7", "", "nope", "a\0b"])
def test_names_that_are_no_encoding(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_encoding(name)
    assert caught.value.mend


def test_delimiters_found_and_told(read: Reader, tmp_path: Path) -> None:
    keys = [row.row_key for row in read(TABLE).rows]
    for delimiter in "|;\t":
        found = read(TABLE.replace(",", delimiter))
        assert [row.row_key for row in found.rows] == keys
    path = tmp_path / "a.csv"
    path.write_text(TABLE.replace(",", "^"))
    assert [row.row_key for row in _rows(path, Reading(delimiter="^"))] == keys
    path = tmp_path / "a.yaml"
    path.write_text("prompts: [a]\n")
    with pytest.raises(UsageError, match="no delimiter"):
        open_spec(path, Reading(delimiter="^"))


def test_own_columns_come_back_and_change_no_key(read: Reader, tmp_path: Path) -> None:
    found = read("X_Who,SIZE, Prompt\nAnn,1:1,a\n,9:16,b\n")
    assert not found.problems
    assert found.spec.columns == ("X_Who", "SIZE", "Prompt")
    assert dict(found.rows[0].source) == {"X_Who": "Ann", "SIZE": "1:1", "Prompt": "a"}
    bare = read("prompt,size\na,1:1\nb,9:16\n")
    assert [row.row_key for row in found.rows] == [row.row_key for row in bare.rows]
    assert read("prompt,sku\na,7\n").problems[0].field == "sku"
    path = tmp_path / "a.csv"
    path.write_text("prompt,SKU\na,7\n")
    (row,) = _rows(path, Reading(keep=frozenset({"sku"})))
    assert row.source["SKU"] == "7"
    assert read("prompt,x_a,X_A\na,b,c\n").problems[0].message.startswith("is the name of two")


def test_json_lines_are_the_rows_of_the_same_table(read: Reader) -> None:
    lines = [
        {"PROMPT": "Ein Mädchen 🎬", "id": "r1", "size": "9:16", "x_tags": ["a", 1.5]},
        {"id": "r2", "prompt": "ein Hund", "size": "1:1", "duration": 5.0, "seed": None},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    found = read(text, "a.jsonl")
    assert not found.problems
    assert [(row.row_key, row.digest) for row in found.rows] == [
        (row.row_key, row.digest) for row in read(TABLE).rows
    ]
    assert found.spec.columns == ("PROMPT", "id", "size", "x_tags", "prompt", "duration")
    assert found.rows[0].source["x_tags"] == '["a",1.5]'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "is not a JSON object"),
        ('{"prompt": "a", "prompt": "b"}', "has the key prompt twice"),
        ('{"prompt": "a", "Prompt": "b"}', "is there twice"),
        ('{"promt": "a"}', "is not a known field"),
        ('{"prompt": 5}', "must be text"),
        ('{"prompt": "a", "id": ["b"]}', "must be text"),
        ('{"prompt": "a", "id": true}', "must be text"),
        ('{"prompt": "a", "duration": "05s"}', "must be 5 or 10"),
        ('{"prompt": "a", "cfg_scale": 1e999}', "number"),
        ('{"prompt": "a", "cfg_scale": NaN}', "which JSON does not know"),
        ('{"prompt": "\\ud800"}', "half of a surrogate pair"),
        ('{"prompt": "a", "x_a": "\\ud800"}', "half of a surrogate pair"),
        ('{"prompt": "a", "x_a": "\\u0000"}', "has a NUL character"),
        ('{"prompt": "a", "x_\\ud800": "b"}', "is not a known field"),
        ('{"x_a": "b"}', "is missing"),
        ('{"prompt": "a", "camera_control": ' + "[" * 100_000, "nests too deep"),
    ],
)
def test_lines_that_are_no_row(read: Reader, line: str, told: str) -> None:
    found = read(f'{{"prompt": "ok"}}\n{line}\n{{"prompt": "ok"}}\n', "a.jsonl")
    assert [problem.line for problem in found.problems] == [2]
    assert told in found.problems[0].message
    assert found.problems[0].mend
    assert len(found.rows) == 2


def test_a_workbook_is_read_as_its_csv_would_be(read: Reader) -> None:
    pytest.importorskip("python_calamine")
    book = workbook(
        [
            ["Prompt", "duration", "size", "mode", "audio", "cfg_scale", "x_n", None],
            ["a cat\nin the rain", 5.0, time(16, 9), "pro", True, 0.1, 12.0],
            [],
            ["a dog", None, "9:16"],
        ]
    )
    found = read(book, "a.xlsx")
    assert not found.problems
    table = read(
        "Prompt,duration,size,mode,audio,cfg_scale,x_n\n"
        '"a cat\nin the rain",5,16:9,pro,TRUE,0.1,12\n\na dog,,9:16\n'
    )
    assert [row.input_json for row in found.rows] == [row.input_json for row in table.rows]
    assert [row.row_key for row in found.rows] == [row.row_key for row in table.rows]
    assert [row.line for row in found.rows] == [2, 4]
    assert [(note.line, note.column) for note in found.notes] == [(2, 3)]
    assert found.rows[0].source["x_n"] == "12"


def test_what_is_wrong_in_a_workbook_has_its_cell(read: Reader) -> None:
    pytest.importorskip("python_calamine")
    rows = [["id", "prompt", "duration"], [1234567890123456.0, "a", 7.0], ["b", "c", 5, "stray"]]
    found = read(workbook(rows, [["more"]]), "a.xlsx")
    assert [(line, column, field) for line, column, field, _ in found.told] == [
        (2, 1, "id"), (2, 3, "duration"), (3, 4, None),
    ]  # fmt: skip
    assert "Excel" in found.problems[0].message
    assert "S2" in found.notes[0].message


def test_errors_of_a_workbook_become_no_defaults(read: Reader) -> None:
    rows = [["id", "prompt", "duration"], ["a", "a kite", "#N/A"], ["#REF!"], ["c", "#VALUE!", 5]]
    found = read(workbook(rows, [["#NAME?"]]), "a.xlsx")
    assert [(p.line, p.column, p.field, p.value) for p in found.problems] == [
        (2, 3, "duration", "#N/A"),
        (3, 1, "id", "#REF!"),
        (4, 2, "prompt", "#VALUE!"),
    ]
    assert {p.message for p in found.problems} == {"is an error of Excel"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 broken", "is not an Excel workbook"),
        (b"prompt\na\n", "is not an Excel workbook"),
        (workbook([]), "has no text"),
        (workbook([["prompt"]]), "has a header but no rows"),
        (
            workbook([["prompt"], ["a"]], extra='<row r="1048576"><c r="XFD1048576"/></row>'),
            "cells, empty ones counted",
        ),
    ],
)
def test_workbooks_that_are_no_spec(read: Reader, content: bytes, message: str) -> None:
    pytest.importorskip("python_calamine")
    with pytest.raises(SpecError, match=message) as caught:
        read(content, "a.xlsx")
    assert caught.value.mend


def test_a_workbook_that_unpacks_to_too_much(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_file, "MAX_UNPACKED", 100)
    with pytest.raises(SpecError, match="unpacks to more"):
        read(workbook([["prompt"], ["a"]]), "a.xlsx")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (TABLE.encode(), 2),
        (gzip.compress(TABLE.encode(), mtime=0), 2),
        (TABLE.encode("utf-16"), 2),
        (b"# a comment\nprompts: [a, b, c]\n", 3),
        (b'\n{"prompt": "a"}\n', 1),
    ],
)
def test_standard_input_is_found_out(tmp_path: Path, content: bytes, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "validate", "-", "--json"],
        input=content, capture_output=True, check=False, cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["rows"] == rows
    assert list(tmp_path.glob("spec-*")) == []
