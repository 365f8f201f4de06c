"""Hostile files: whatever the bytes, a correct row or a clear error, within bounds."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.identity import canonical_json, input_digest
from orchestrator.errors import Problem, SpecError
from orchestrator.spec import Note, SpecRow, open_spec
from tests.support.workbook import workbook
from tests.unit.spec.reading import Reader

MB = 1 << 20
FILES = int(os.environ.get("FUZZ_FILES", "150"))
"""Mutated files of each kind; more of them find more."""
ENDINGS = (".csv", ".jsonl", ".yaml", ".csv.gz", ".xlsx")
SEEDS: dict[str, tuple[bytes, ...]] = {
    ".csv": (
        b'id,prompt,size,duration,mode,audio,camera_control\na,"A ""cat""",16:09,05,pro,TRUE,{}\n',
        "prompt;x_a;cfg_scale\r\nÉ 🎬;b;0,5\r\n\r\n".encode(),
    ),
    ".jsonl": (b'{"prompt": "a", "camera_control": {"a": [1.5, null]}, "x_b": 1e5}\n{"id": 5}\n',),
    ".yaml": (
        (
            b"name: x\nbudget: 2.5\ntakes: 2\ndefaults: &d {mode: pro}\n"
            b"items: [a, {prompt: b, x_c: 1}]\nprompts: [c, d]\nseeds: {count: 2, from: 5}\n"
            b"exclude: [{prompt: c, seed: 6}]\ninclude: [{prompt: e}]\nkeep: [sku]\n"
        ),
        b"rows: spec.yaml\nprompt: '{a} {{b}}'\n",
    ),
    ".csv.gz": (gzip.compress(b"prompt,size\na,1:1\n", mtime=0),),
    ".xlsx": (workbook([["prompt", "duration"], ["a", 5.0], ["b", "x"]]),),
}


def check(path: Path) -> int:
    """Read a file whole; the number of rows that can be sent. Fails where the answer is unclear."""
    try:
        entries: Iterable[SpecRow | Problem | Note] = list(open_spec(path).rows())
    except SpecError as error:
        refused = error
        entries = []
    else:
        refused = None
    assert refused is None or (refused.message and refused.mend)
    rows = 0
    for entry in entries:
        if isinstance(entry, SpecRow):
            rows += 1
            values = json.loads(entry.input_json, parse_float=Decimal)
            assert canonical_json(values) == entry.input_json
            assert entry.digest == input_digest(entry.model, values)
            assert 1 <= len(values["prompt"]) <= 2500
            json.dumps(dict(entry.source), ensure_ascii=False).encode()
        elif isinstance(entry, Problem):
            assert entry.mend
            assert entry.line >= 1
            assert str(entry).removeprefix(entry.file).isprintable()
            assert len(entry.value or "") <= 80
    return rows


def _mutated(seed: bytes, rng: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at:at] = rng.choice(_PIECES)
            case 1:
                del data[at : at + rng.randint(1, 8)]
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                data[at:at] = data[at : at + 20] * rng.randint(1, 4)
            case _:
                data[at : at + rng.randint(0, 4)] = rng.choice(_PIECES)
    return bytes(data)


_PIECES = (
    b'"', b"'", b"\r", b"\n", b"\r\n", b"\0", b",", b";", b"\t", b"{", b"}", b"[", b"]", b": ",
    b"- ", b"&a ", b"*a", b"!!x ", b"---\n", b"1e309", b"NaN", b"-1", b"05", b"~", b"null",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x8e\xac", b"\xe2\x80\x8f", b"\\ud800",
    b"\\u0000", b"sep=;\n", b"x_", b"<<: ", b"|\n ", b"9" * 60, b"{a}", b"takes: 9\n", b"? ",
    b"%YAML 1.1\n",
)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_mutations_of_good_files(tmp_path: Path, ending: str) -> None:
    """A fixed walk through broken files, the same on every machine."""
    rng = random.Random(ending)
    path = tmp_path / f"spec{ending}"
    good = 0
    for _ in range(FILES // (10 if ending == ".xlsx" else 1)):
        path.write_bytes(_mutated(rng.choice(SEEDS[ending]), rng))
        good += check(path)
    assert good or ending in {".csv.gz", ".xlsx"}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ENDINGS), st.binary(max_size=200))
def test_any_bytes(ending: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"spec{ending}"
        path.write_bytes(content)
        check(path)


def test_mutations_inside_a_workbook(tmp_path: Path) -> None:
    """The archive is whole, one of its parts is not."""
    rng = random.Random(5)
    path = tmp_path / "spec.xlsx"
    with zipfile.ZipFile(io.BytesIO(SEEDS[".xlsx"][0])) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    good = 0
    for _ in range(FILES // 15):  # each is read by a process of its own
        chosen = rng.choice(list(parts))
        with zipfile.ZipFile(path, "w") as book:
            for name, content in parts.items():
                book.writestr(name, _mutated(content, rng) if name == chosen else content)
        good += check(path)
    assert good


_TEXT = st.text(max_size=12)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(["prompt", "id", "seed", "x_a", "cfg_scale"]), _TEXT))
def test_any_text_says_the_same_in_csv_and_json(values: dict[str, str]) -> None:
    """One row, written both ways, is the same row or wrong in the same fields."""
    names = ["prompt", "id", "seed", "x_a", "cfg_scale"]
    cells = ",".join('"' + values.get(name, "").replace('"', '""') + '"' for name in names)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (
            ("a.csv", f"{','.join(names)}\n{cells}\n"),
            ("a.jsonl", json.dumps(values) + "\n"),
        ):
            path = Path(folder) / name
            path.write_bytes(text.encode("utf-8"))
            try:
                entries = list(open_spec(path).rows())
            except SpecError:  # a NUL byte, or no text at all: only a CSV as a whole is
                return
            told.append(
                [e.row_key if isinstance(e, SpecRow) else getattr(e, "field", "") for e in entries]
            )
    assert sorted(map(str, told[0])) == sorted(map(str, told[1]))


@pytest.mark.parametrize(
    ("written", "value"),
    [("05", 5), ("5.0", 5), ("1e309", None), ("NaN", None), ("inf", None), ("-5", None),
     ("0x5", None), ("5" * 5000, None), ("1e1", None)],
)  # fmt: skip
def test_odd_durations(read: Reader, written: str, value: int | None) -> None:
    for name, text in (
        ("a.csv", f"prompt,duration\nA,{written}\n"),
        ("a.jsonl", json.dumps({"prompt": "A", "duration": written})),
        ("a.yaml", f"items: [{{prompt: A, duration: '{written}'}}]\n"),
    ):
        found = read(text, name)
        assert [i["duration"] for i in found.inputs] == ([value] if value else [])
        assert [problem.field for problem in found.problems] == ([] if value else ["duration"])


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.yaml"])
def test_prompts_are_counted_in_characters_and_kept_as_they_are(read: Reader, name: str) -> None:
    for prompt, good in (
        ("🎬" * 2500, True),
        ("🎬" * 2501, False),
        ("\u202eRTL \u200f\u2067 עברית", True),
        ("e\u0301 \u00e9 \ufeff \u2028", True),
    ):
        quoted = json.dumps(prompt, ensure_ascii=False)
        text = {
            "a.csv": f'prompt\n"{prompt}"\n',
            "a.jsonl": f'{{"prompt": {quoted}}}\n',
            "a.yaml": f"prompts: [{json.dumps(prompt)}]\n",
        }[name]
        if name == "a.yaml" and "\\ud83c" in text:
            text = f"prompts: [{quoted}]\n"
        found = read(text, name)
        assert [i["prompt"] for i in found.inputs] == ([prompt] if good else [])
        assert len(found.problems) == (0 if good else 1)


def test_mixed_line_ends(read: Reader) -> None:
    found = read("prompt,size\rA,1:1\r\nB,9:16\n\n\rC,\r\n")
    assert [values["prompt"] for values in found.inputs] == ["A", "B", "C"]


def test_lone_surrogates_never_get_in(read: Reader) -> None:
    with pytest.raises(SpecError, match="not UTF-8"):
        read(b"prompt\n\xed\xa0\x80\n")
    assert read('{"prompt": "\\ud83c"}\n', "a.jsonl").problems
    with pytest.raises(SpecError, match="invalid Unicode character"):
        read('prompts: ["\\udc00"]\n', "a.yaml")


def test_things_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    (tmp_path / "self.yaml").write_text("rows: pipe.csv\nprompt: a\n")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.jsonl", "loop.csv", "device.csv", "self.yaml"):
        with pytest.raises(SpecError) as caught:
            open_spec(tmp_path / name)
        assert caught.value.mend


def _named(count: int, before: str) -> str:
    return ",".join(f"{before}{n}" for n in range(count))


_CELL = "x" * 10 * MB
_LARGE: dict[str, Callable[[], str | bytes]] = {
    "wide.csv": lambda: f"prompt,{_named(100_000, 'c')}\nA\n",
    "own.csv": lambda: f"prompt,{_named(100_000, 'x_')}\nA\n",
    "cell.csv": lambda: f"prompt\n{_CELL}\n",
    "cell.jsonl": lambda: f'{{"prompt": "{_CELL}"}}\n',
    "cell.yaml": lambda: f"prompts: [{_CELL[: MB // 4]}]\n",
    "keys.jsonl": lambda: json.dumps({"prompt": "a"} | {f"x_{n}": n for n in range(100_000)}),
    "deep.yaml": lambda: "prompts: " + "[" * 100_000,
    "bomb.csv.gz": lambda: gzip.compress(b"prompt\n" + b"a" * (80 * MB)),
    "seeds.yaml": lambda: (
        "prompts: [a]\nseeds: {count: 1000000}\nexclude: [{seed: 5}]\nsize: 4:3\ntakes: 3\n"
    ),
    "takes.yaml": lambda: "takes: 1000\nprompts: [" + "a, " * 999 + "a]\nmodes: [std, pro]\n",
    "braces.yaml": lambda: "rows: t.csv\nprompt: '" + "{" * 99_999 + "'\n",
}


@pytest.mark.parametrize("name", list(_LARGE))
def test_large_and_twisted_files_are_bounded(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text("a\nb\n")
    path = tmp_path / name
    content = _LARGE[name]()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    tracemalloc.start()
    try:
        check(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * MB, f"{peak / MB:.0f} MB"
