"""YAML specs as rows: items first, then the product of the lists (docs/specs.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

from orchestrator.domain.identity import Json, canonical_json
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.checking import RowChecker
from orchestrator.spec.entries import Checked, Draft, Note, SpecHeader
from orchestrator.spec.files import require_file
from orchestrator.spec.yaml_head import Pair, YamlHead, field_names, read_head, synonyms
from orchestrator.spec.yaml_tree import Entries, Items, Node, Scalar, as_json, is_null, read_tree

MAX_BYTES = 64 * 1024 * 1024
"""The whole tree is held in memory; a CSV is not."""


@dataclass(frozen=True)
class YamlFile:
    """A YAML spec whose tree was read. `synonyms`: fields that stand for another."""

    path: Path
    head: YamlHead
    columns: tuple[str, ...]
    synonyms: dict[str, str]

    @property
    def header(self) -> SpecHeader:
        """Name, model and budget, where they are valid."""
        return self.head.header

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of the top level."""
        return self.head.problems

    def checked(self) -> Iterator[Checked]:
        """One entry per row. What is wrong with a value that many rows share is said once."""
        checker = RowChecker(str(self.path))
        said: set[Problem | Note] = set()
        for draft in chain(self._of_items(), self._of_axes()):
            checked = checker.check(draft)
            if checked.problems or checked.notes:
                problems = tuple(entry for entry in checked.problems if entry not in said)
                notes = tuple(entry for entry in checked.notes if entry not in said)
                said.update(problems, notes)
                checked = Checked(checked.row, problems, notes)
            yield checked

    def _of_items(self) -> Iterator[Draft]:
        for item in self.head.items:
            match item:
                case Entries(pairs):
                    yield self._draft(item, {key.text: value for key, value in pairs})
                case Scalar():
                    yield self._draft(item, {"prompt": item})
                case Items():
                    yield self._misplaced(item)

    def _of_axes(self) -> Iterator[Draft]:
        axes = self.head.axes
        if not axes:
            return
        names = [axis.name for axis in axes]
        for nodes in product(*(axis.nodes for axis in axes)):
            yield self._draft(nodes[0], dict(zip(names, nodes, strict=True)))

    def _draft(self, row: Node, own: dict[str, Node]) -> Draft:
        """A row's own values over the defaults; null takes a default of this file away."""
        taken = {self._slot(name) for name in own}
        nodes = {
            key.text: value
            for key, value in self.head.defaults
            if self._slot(key.text) not in taken
        } | own
        written = {name: node for name, node in nodes.items() if not is_null(node)}
        texts = {name: _text(node) for name, node in written.items()}
        row_id, model = texts.get("id"), texts.get("model")
        return Draft(
            line=row.line,
            column=row.column,
            row_id=row_id,
            model=model or self.head.header.model,
            values={n: _value(node) for n, node in written.items() if n not in {"id", "model"}},
            source={name: texts.get(name, "") for name in self.columns},
            columns={name: node.column for name, node in nodes.items()},
            lines={name: node.line for name, node in nodes.items()},
        )

    def _slot(self, name: str) -> str:
        return self.synonyms.get(name, name)

    def _misplaced(self, item: Items) -> Draft:
        message = "is a list inside the list of items"
        mend = "Write a prompt, or a mapping with prompt, size and so on."
        problem = Problem(str(self.path), item.line, item.column, "items", None, message, mend)
        return Draft(item.line, item.column, None, None, {}, {}, {}, problems=(problem,))


def open_yaml(path: Path) -> YamlFile:
    """Read the whole tree and its top level. Raises SpecError."""
    if require_file(path) > MAX_BYTES:
        raise SpecError(
            f"{path} has more than {MAX_BYTES // 1024**2} MB", mend="Split it, or write a CSV."
        )
    head = read_head(path, *read_tree(path))
    return YamlFile(path, head, _columns(head), synonyms())


def _columns(head: YamlHead) -> tuple[str, ...]:
    """Keys that any row uses: prompt, id and model first, then as the schema has them."""
    used = {"prompt"} | {axis.name for axis in head.axes} | _names(head.defaults)
    for item in head.items:
        if isinstance(item, Entries):
            used |= _names(item.pairs)
    first, *others = field_names()
    return tuple(name for name in (first, "id", "model", *others) if name in used)


def _names(pairs: tuple[Pair, ...]) -> set[str]:
    return {key.text for key, _ in pairs}


def _value(node: Node) -> Json:
    """Scalars stay text, as cells are: the field's kind decides what they stand for."""
    return node.text if isinstance(node, Scalar) else as_json(node)


def _text(node: Node) -> str:
    if isinstance(node, Scalar):
        return node.text
    try:
        return canonical_json(as_json(node))
    except ValueError:  # a number out of range: the row's check says so
        return str(as_json(node))
