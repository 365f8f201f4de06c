"""What concerns a file as a whole, and the example specs."""

from __future__ import annotations

import json
import os
import stat
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.domain.identity import canonical_json, input_digest
from orchestrator.errors import SpecError
from orchestrator.spec import SpecRow, files, open_spec, validate, yaml_file
from orchestrator.spec.files import CHUNK
from tests.unit.spec.reading import Reader

BATCHES = Path(__file__).parents[3] / "batches"


def _refused(path: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        open_spec(path)
    assert caught.value.mend
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize("name", ["gone.csv", "gone", "gone.pdf", "a.csv/gone.csv"])
def test_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text("prompt\nA\n")
    assert _refused(tmp_path / name).message.startswith("there is no file")


def test_not_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "directory.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a directory" in _refused(tmp_path / "directory.csv").message
    assert "is a directory" in _refused(tmp_path).message
    assert "not an ordinary file" in _refused(tmp_path / "pipe.csv").message


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    assert "too long" in _refused(tmp_path / ("x" * 300 + ".csv")).message
    assert _refused(Path("a\0b.csv")).message


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt\nA\n")
    path.chmod(0)
    if os.access(path, os.R_OK):  # a privileged user reads everything: let the system refuse

        def refuse(*_args: object, **_options: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read" in _refused(path).message
    assert stat.S_IMODE(path.stat().st_mode) == 0


def test_other_endings(tmp_path: Path) -> None:
    for name in ("a.pdf", "a"):
        (tmp_path / name).write_text("prompt\nA\n")
        assert "cannot be read as specs" in _refused(tmp_path / name).message
    (tmp_path / "B.CSV").write_text("prompt\nA\n")
    assert validate(tmp_path / "B.CSV").rows == 1


def test_no_text(read: Reader) -> None:
    for name in ("a.csv", "a.yaml"):
        with pytest.raises(SpecError, match="is empty"):
            read(b"", name)
    with pytest.raises(SpecError, match="has no text"):
        read(b"\xef\xbb\xbf\n ,,\n", "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.yaml"])
@pytest.mark.parametrize(
    ("encoding", "likely"),
    [("cp1252", "Windows-1252"), ("cp1251", "Windows-1251"), ("shift_jis", "Shift JIS")],
)
def test_wrong_encodings_are_named(read: Reader, name: str, encoding: str, likely: str) -> None:
    text = {
        "cp1252": "Ein Mädchen läuft über die Straße, während es regnet – wunderschön",
        "cp1251": "Девочка бежит по улице под дождём, медленное движение камеры",
        "shift_jis": "雨の中を走る少女、映画のような照明、ゆっくりとしたカメラの動き",
    }[encoding]
    head = b"prompts:\n- ok\n- " if name == "a.yaml" else b"prompt\nok\n"
    with pytest.raises(SpecError, match="is not UTF-8 from line 3") as caught:
        read(head + text.encode(encoding) + b"\n", name)
    assert likely in caught.value.message
    assert "Excel" in caught.value.mend
    (problem,) = caught.value.problems
    assert problem.line == 3


@pytest.mark.parametrize(
    ("text", "meant"),
    [("a,Se\xf1or", "Señor"), ("Caf\xe9 au lait, \xe0 Paris", "à"), ("im Gr\xfcn", "Grün")],
)
def test_a_word_is_read_as_western_first(read: Reader, text: str, meant: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(b"prompt\n" + text.encode("latin-1") + b"\n")
    assert f"--encoding cp1252 for '{meant}'" in caught.value.mend or (
        "Windows-1252" in caught.value.message
    )


def test_the_byte_that_is_wrong_is_counted(read: Reader) -> None:
    with pytest.raises(SpecError, match=r"line 2 on \(byte 9 of"):
        read(b"prompt\na\xff\n")
    # Characters and line ends that fall on the border of two reads.
    before = "prompt\n" + "x" * (CHUNK - 8) + "é\n"
    assert read(before.encode() + b"ok\n").spec is not None
    with pytest.raises(SpecError, match=rf"line 3 on \(byte {len(before.encode()) + 1:,} of"):
        read(before.encode() + b"\xff\n")
    with pytest.raises(SpecError, match=rf"line 2 on \(byte {CHUNK:,} of"):
        read(("prompt\n" + "x" * (CHUNK - 8)).encode() + b"\xc3\n")
    with pytest.raises(SpecError, match=r"line 2 on \(byte 8 of"):
        read(b"prompt\n\xc3")


def test_utf_16_without_a_mark_and_nul(read: Reader) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(SpecError, match="is UTF-16, not UTF-8"):
            read(("prompt\n" + "A cat in the rain\n" * 4).encode(encoding))
    with pytest.raises(SpecError, match=r"NUL byte in line 3 \(byte 12"):
        read(b"prompt\nok\nx\0y\n")


def test_endless_lines_are_bounded(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 3 * CHUNK)
    with pytest.raises(SpecError, match="in line 2"):
        read(b"prompt\n" + b"x" * 5 * CHUNK)


def test_large_yaml_is_bounded(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_file, "MAX_BYTES", 10)
    with pytest.raises(SpecError, match="has more than"):
        read("prompts: [a, b]\n", "a.yaml")


def test_a_file_that_goes_away_between_head_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt\nA\n")
    spec = open_spec(path)
    path.write_bytes(b"prompt\nA\n\xff\n")
    with pytest.raises(SpecError, match="changed while it was read"):
        list(spec.rows())
    path.unlink()
    with pytest.raises(SpecError, match="there is no file"):
        list(spec.rows())


def test_rows_are_streamed(tmp_path: Path) -> None:
    """A quarter of the file's size would be far too much to hold."""
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("id,prompt\n")
        file.writelines(f"{n},{'A cat in the rain ' * 100}\n" for n in range(4000))
    spec = open_spec(path)
    tracemalloc.start()
    assert sum(1 for _ in spec.rows()) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_the_demo_has_every_kind_of_row() -> None:
    path = BATCHES / "demo.csv"
    report = validate(path)
    assert (report.rows, report.problems, report.notes) == (24, [], [])
    rows = [entry for entry in open_spec(path).rows() if isinstance(entry, SpecRow)]
    inputs = [json.loads(row.input_json) for row in rows]
    assert sum("image_url" in values for values in inputs) == 6
    assert sum(values["audio"] for values in inputs) == 4
    assert len({row.row_id for row in rows}) == 24


def test_the_other_examples() -> None:
    assert (validate(BATCHES / "example.csv").rows, validate(BATCHES / "matrix.yaml").rows) == (
        3,
        14,
    )
    assert not validate(BATCHES / "example.csv").problems
    assert not validate(BATCHES / "matrix.yaml").problems
    assert open_spec(BATCHES / "matrix.yaml").header.name == "seasons"


def test_the_example_with_a_table() -> None:
    spec = open_spec(BATCHES / "products.yaml")
    rows = list(spec.rows())
    assert all(isinstance(row, SpecRow) for row in rows)
    assert len(rows) == 3 * 2 * 2 - 3 + 1
    assert spec.columns == ("prompt", "id", "mode", "seed", "size", "audio", "sku", "x_owner")


def test_the_broken_example_is_reported_whole() -> None:
    report = validate(BATCHES / "broken.csv")
    assert {(problem.line, problem.field) for problem in report.problems} == {
        (1, "promt"), (4, "id"), (5, "duration"), (6, "audio"), (7, "id"), (8, "id"),
        (9, "size"), (9, "mode"), (9, "audio"), (9, "seed"), (9, "cfg_scale"),
        (10, "image_url"), (11, "image_urls"), (12, "camera_control"),
        (13, "size"), (13, "duration"), (13, "mode"), (13, "audio"), (13, "seed"),
        (14, "prompt"), (15, "prompt"), (16, None), (18, None),
    }  # fmt: skip
    assert [(note.line, note.field) for note in report.notes] == [(3, "size")]
    assert report.rows == 16


def test_digests_are_those_of_the_normal_input(read: Reader) -> None:
    (row,) = read("prompt,seed\nA,7\n").rows
    values = json.loads(row.input_json, parse_float=str)
    assert row.digest == input_digest(row.model, values | {"cfg_scale": Decimal("0.5")})
    assert canonical_json(json.loads(row.input_json, parse_float=Decimal)) == row.input_json
