"""A file of schedules: names, and the terms of each with their places (docs/schedules.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.models import shown, suggestion
from orchestrator.domain.schedule import TermError
from orchestrator.domain.schedule_terms import TERMS
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.files import Source, require_file, require_text
from orchestrator.spec.yaml_tree import Entries, Node, Scalar, is_null, read_tree

_BEGIN = "Begin with `schedules:` and write one name below it for each."


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule as written. `spec` is as the file has it, relative to the file's folder."""

    file: str
    name: Scalar
    nodes: Mapping[str, Scalar]

    @property
    def terms(self) -> dict[str, str]:
        return {term: node.text for term, node in self.nodes.items()}

    def problem(self, error: TermError) -> Problem:
        """What is wrong with a term, at its place; within a value where that is known."""
        node = self.nodes.get(error.term, self.name)
        column = node.column + (error.offset and error.offset + (not node.plain))
        value = shown(error.value) if error.value else None
        return Problem(self.file, node.line, column, error.term, value, error.message, error.mend)


def read_schedules(path: Path) -> tuple[list[Entry], list[Problem]]:
    """The schedules of a file and what is wrong with its shape. Raises SpecError as a spec does."""
    if require_file(path) == 0:
        raise SpecError(f"{path} is empty", mend=_BEGIN, code="empty")
    source = Source(str(path), path)
    require_text(source)
    root, twice = read_tree(source)
    file = str(path)
    problems = list(twice)
    entries: list[Entry] = []
    for key, node in _schedules(path, root, problems):
        if isinstance(node, Entries):
            entries.append(Entry(file, key, _terms(file, node, problems)))
        else:
            mend = "Write spec: and cron: below it."
            problems.append(_problem(file, key, "is no schedule: it has no terms", mend))
    return entries, problems


def _schedules(path: Path, root: Node, problems: list[Problem]) -> list[tuple[Scalar, Node]]:
    found: list[tuple[Scalar, Node]] = []
    if not isinstance(root, Entries) or "schedules" not in [key.text for key, _ in root.pairs]:
        message = "there is no `schedules:` at the top level"
        problem = Problem(str(path), root.line, root.column, None, None, message, _BEGIN)
        raise SpecError(f"{path}: {message}", mend=_BEGIN, problems=[problem])
    for key, node in root.pairs:
        if key.text != "schedules":
            problems.append(_problem(str(path), key, "is not a known key", "Leave it out."))
        elif isinstance(node, Entries):
            found = list(node.pairs)
        elif not is_null(node):
            problems.append(_problem(str(path), key, "must be a mapping", _BEGIN))
    return found


def _terms(file: str, schedule: Entries, problems: list[Problem]) -> dict[str, Scalar]:
    terms: dict[str, Scalar] = {}
    for key, node in schedule.pairs:
        if key.text not in TERMS:
            meant = suggestion(key.text, TERMS)
            mend = f"Did you mean {meant}?" if meant else f"Known: {', '.join(TERMS)}."
            problems.append(_problem(file, key, "is not a known term", mend))
        elif not isinstance(node, Scalar):
            mend = "Write one text or number."
            problems.append(_problem(file, key, "must be a single value", mend))
        elif not is_null(node):
            terms[key.text] = node
    return terms


def _problem(file: str, key: Scalar, message: str, mend: str) -> Problem:
    return Problem(file, key.line, key.column, shown(key.text), None, message, mend)
