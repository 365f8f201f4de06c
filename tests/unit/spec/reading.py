"""Files made from text, read back as rows, problems and notes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Problem
from orchestrator.spec import Note, Spec, SpecRow, open_spec


@dataclass(frozen=True)
class Read:
    """Everything a spec gave, sorted by what it is."""

    spec: Spec
    rows: list[SpecRow]
    problems: list[Problem]
    notes: list[Note]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return [json.loads(row.input_json) for row in self.rows]

    @property
    def told(self) -> list[tuple[int, int, str | None, str]]:
        return [(p.line, p.column, p.field, p.message) for p in self.problems]


Reader = Callable[..., Read]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write a text (or bytes) as a spec of this name, and read it."""

    def reading(content: str | bytes, name: str = "spec.csv") -> Read:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        spec = open_spec(path)
        entries = list(spec.rows())
        return Read(
            spec,
            [entry for entry in entries if isinstance(entry, SpecRow)],
            [entry for entry in entries if isinstance(entry, Problem)],
            [entry for entry in entries if isinstance(entry, Note)],
        )

    return reading
