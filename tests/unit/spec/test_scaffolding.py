"""What `init` writes and `schema` prints: valid, complete, and the same as in the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orchestrator.cli.app import invoke
from orchestrator.domain.models import get_model
from orchestrator.spec import validate
from orchestrator.spec.files import Source
from orchestrator.spec.schema import json_schema
from orchestrator.spec.yaml_head import axis_names, known_keys
from orchestrator.spec.yaml_tree import as_json, read_tree
from tests.unit.spec.reading import Reader

ROOT = Path(__file__).parents[3]


def test_a_first_spec_is_valid_and_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos"
    assert invoke(["init", str(folder), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(p).name for p in written)
    for name, rows in (("prompts.csv", 3), ("seasons.yaml", 8)):
        report = validate(folder / name)
        assert (report.rows, report.problems, report.notes) == (rows, [], [])
    (folder / "prompts.csv").write_text("mine")
    (folder / "seasons.yaml").unlink()
    assert invoke(["init", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (folder / "prompts.csv").read_text() == "mine"
    assert not (folder / "seasons.yaml").exists()


def test_the_documented_schema_is_the_printed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["schema"]) == 0
    printed = capsys.readouterr().out
    assert (ROOT / "docs" / "spec.schema.json").read_text() == printed, (
        "run: orchestrator schema > docs/spec.schema.json"
    )


def test_the_schema_has_every_key_and_the_api_documents_words() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(known_keys())  # type: ignore[call-overload]
    row = schema["$defs"]["row"]["properties"]  # type: ignore[index]
    described = get_model("kling-v2-6").schema.model_json_schema()["properties"]
    assert set(row) == {"id", "model", "takes", *described}
    assert row["audio"]["description"] == described["audio"]["description"]
    assert all(row[name]["title"] == described[name]["title"] for name in described)


def _fits(schema: dict, whole: dict, value: object) -> bool:
    """As much of JSON Schema as ours uses."""
    if "$ref" in schema:
        return _fits(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole, value)
    if "anyOf" in schema:
        return any(_fits(part, whole, value) for part in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
             "number": (int, float)}  # fmt: skip
    wanted = schema.get("type", [])
    names = [wanted] if isinstance(wanted, str) else wanted
    if names and not any(isinstance(value, kinds[name]) for name in names):
        return False
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        own = schema.get("patternProperties", {})
        closed = schema.get("additionalProperties", True) is False
        return all(
            _fits(inner[key], whole, entry) if key in inner
            else any(re.search(pattern, key) for pattern in own) or not closed
            for key, entry in value.items()
        )  # fmt: skip
    if isinstance(value, list) and "items" in schema:
        return all(_fits(schema["items"], whole, entry) for entry in value)
    return True


def test_the_examples_fit_the_schema_and_broken_ones_do_not() -> None:
    schema = json_schema()
    for path in (ROOT / "batches").glob("*.yaml"):
        read = as_json(read_tree(Source(str(path), path))[0])
        tree = json.loads(json.dumps(read, default=float))
        assert _fits(schema, schema, tree) == (not validate(path).problems), path.name
    assert not _fits(schema, schema, {"promts": ["a"]})
    assert not _fits(schema, schema, {"prompts": ["a"], "sizes": ["4:3"]})


def test_the_broken_yaml_is_reported_whole() -> None:
    report = validate(ROOT / "batches" / "broken.yaml")
    assert [(problem.line, problem.field) for problem in report.problems] == [
        (12, "durration"), (4, "priority"), (5, "takes"), (15, "size"), (8, "duration"),
        (9, "audio"), (11, "mode"),
    ]  # fmt: skip


def test_json_lines_example() -> None:
    report = validate(ROOT / "batches" / "example.jsonl")
    assert (report.rows, report.problems) == (3, [])


def test_every_key_of_the_schema_is_read(read: Reader) -> None:
    """No key is accepted and ignored: a wrong value of each is told."""
    for key in known_keys():
        bad = "[]" if key in axis_names() else "{nonsense: [[]]}"
        text = f"{key}: {bad}\n" + ("" if key in {"prompt", "prompts"} else "prompts: [a]\n")
        assert read(text, "a.yaml").problems, key
