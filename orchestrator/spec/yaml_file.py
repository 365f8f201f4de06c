"""YAML specs as rows: items, then what the lists make, then include (docs/specs.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from orchestrator.domain.identity import Json, canonical_json
from orchestrator.domain.models import shown
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.cells import CellError
from orchestrator.spec.checking import RowChecker
from orchestrator.spec.entries import Checked, Draft, Note, SpecHeader
from orchestrator.spec.files import Source, require_file
from orchestrator.spec.own import check_own_text, is_own
from orchestrator.spec.sources import Reading
from orchestrator.spec.table import TEMPLATED, Table, open_table
from orchestrator.spec.yaml_head import Pair, YamlHead, field_names, read_head, synonyms
from orchestrator.spec.yaml_lists import Combination, combinations
from orchestrator.spec.yaml_more import MAX_TAKES, whole_number
from orchestrator.spec.yaml_tree import Entries, Items, Node, Scalar, as_json, is_null, read_tree

MAX_BYTES = 64 * 1024 * 1024
"""The whole tree is held in memory; a CSV is not."""
_NOWHERE = Scalar("", False, 1, 1)
"""The place of a row that no list of the spec has a part in."""


@dataclass(frozen=True)
class YamlFile:
    """A YAML spec whose tree was read. `synonyms`: fields that stand for another."""

    source: Source
    head: YamlHead
    table: Table | None
    columns: tuple[str, ...]
    synonyms: dict[str, str]

    @property
    def header(self) -> SpecHeader:
        """Name, model and budget, where they are valid."""
        return self.head.header

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of the top level, and of the table's header."""
        return self.head.problems + (self.table.problems if self.table else ())

    def checked(self) -> Iterator[Checked]:
        """One entry per row. What is wrong with a value that many rows share is said once."""
        checker = RowChecker(str(self.source))
        said: set[Problem | Note] = set()
        for draft in chain(
            self._of_rows(self.head.items, "items"),
            self._of_lists(),
            self._of_rows(self.head.include, "include"),
        ):
            checked = checker.check(draft)
            if checked.problems or checked.notes:
                problems = tuple(entry for entry in checked.problems if entry not in said)
                notes = tuple(entry for entry in checked.notes if entry not in said)
                said.update(problems, notes)
                checked = Checked(checked.row, problems, notes, checked.bad)
            yield checked

    def _of_rows(self, rows: tuple[Node, ...], where: str) -> Iterator[Draft]:
        """Rows that are written one by one."""
        for row in rows:
            match row:
                case Entries(pairs):
                    own = {key.text: value for key, value in pairs}
                    takes = own.pop("takes", None)
                    yield from self._takes(self._draft(row, own), takes)
                case Scalar():
                    yield from self._takes(self._draft(row, {"prompt": row}), None)
                case Items():
                    yield self._misplaced(row, where)

    def _takes(self, draft: Draft, own: Node | None) -> Iterator[Draft]:
        """The row as often as it is wanted; ids of further takes are told apart by a number."""
        takes = self.head.takes
        if own is not None and not is_null(own):
            number = whole_number(own, 1, MAX_TAKES)
            if number is None:
                yield self._no_takes(draft, own)
                return
            takes = number
        yield draft
        for take in range(2, takes + 1):
            row_id = draft.row_id and f"{draft.row_id.strip()}#{take}"
            yield replace(draft, row_id=row_id)

    def _of_lists(self) -> Iterator[Draft]:
        axes, exclude = self.head.axes, self.head.exclude
        if self.table is not None:
            if self.problems:
                return  # its rows would repeat what is wrong with the whole
            for row in self.table.rows():
                if row.problems:
                    yield row
                    continue
                for nodes in combinations(axes, exclude):
                    yield from self._takes(self._from_table(self.table, row, nodes), None)
        elif axes:
            for nodes in combinations(axes, exclude):
                yield from self._takes(self._draft(nodes[0], self._named(nodes)), None)

    def _named(self, nodes: Combination) -> dict[str, Node]:
        return {axis.name: node for axis, node in zip(self.head.axes, nodes, strict=True)}

    def _draft(self, row: Node, own: dict[str, Node]) -> Draft:
        """A row's own values over the defaults; null takes a default of this file away."""
        kept: dict[str, Node] = {}
        texts: dict[str, str] = {}
        values: dict[str, Json] = {}
        columns: dict[str, int] = {}
        lines: dict[str, int] = {}
        for name, node in (self._over_defaults(own) if self.head.defaults else own).items():
            if is_own(name, self.head.keep):
                kept[name] = node
                texts[name] = "" if is_null(node) else _text(node)
                continue
            columns[name], lines[name] = node.column, node.line
            if is_null(node):
                continue
            # Scalars stay text, as cells are: the field's kind decides what they stand for.
            texts[name] = _text(node)
            values[name] = texts[name] if isinstance(node, Scalar) else as_json(node)
        values.pop("id", None)
        values.pop("model", None)
        return Draft(
            line=row.line,
            column=row.column,
            row_id=texts.get("id"),
            model=texts.get("model") or self.head.header.model,
            values=values,
            source={name: texts.get(name, "") for name in self.columns},
            columns=columns,
            lines=lines,
            problems=tuple(self._unfit_own(kept, texts)) if kept else (),
        )

    def _over_defaults(self, own: dict[str, Node]) -> dict[str, Node]:
        taken = {self._slot(name) for name in own}
        free = {
            key.text: value
            for key, value in self.head.defaults
            if self._slot(key.text) not in taken
        }
        return free | own

    def _from_table(self, table: Table, row: Draft, nodes: Combination) -> Draft:
        """One combination of the lists for one row of the table: its cells over the defaults."""
        lists = self._named(nodes)
        cells = {name: text for name, text in row.values.items() if isinstance(text, str)}
        given = {name: cells[name] for name in table.fields if name in cells}
        slots = {self._slot(name) for name in given}
        base = self._draft(nodes[0] if nodes else _NOWHERE, dict(lists))
        values = {name: v for name, v in base.values.items() if self._slot(name) not in slots}
        values |= {name: text for name, text in given.items() if name not in {"id", "model"}}
        for name in TEMPLATED:
            node = lists.get(name)
            if isinstance(node, Scalar) and not is_null(node):
                values[name] = table.fill(node.text, cells)
        row_id = given.get("id")
        if self.head.row_id is not None:
            texts = {name: _text(node) for name, node in lists.items()}
            row_id = table.fill(self.head.row_id.text, texts | cells)
        texts = {name: text for name, text in values.items() if isinstance(text, str)}
        texts = {"id": row_id or "", "model": given.get("model", "")} | texts
        own = {name: row.source.get(name, "") for name in table.own}
        inside = frozenset(values) - frozenset(given) - frozenset(TEMPLATED)
        return replace(
            row,
            row_id=row_id,
            model=given.get("model") or self.head.header.model,
            values=values,
            source=dict(base.source) | {n: texts[n] for n in base.source if n in texts} | own,
            columns={**row.columns, **{name: base.place(name).column for name in inside}},
            lines={name: base.place(name).line for name in inside},
            elsewhere=inside,
        )

    def _slot(self, name: str) -> str:
        return self.synonyms.get(name, name)

    def _misplaced(self, row: Items, where: str) -> Draft:
        mend = "Write a prompt, or a mapping with prompt, size and so on."
        message = f"is a list inside the list of {where}"
        problem = self._problem(row, where, None, message, mend)
        return Draft(row.line, row.column, None, None, {}, {}, {}, problems=(problem,))

    def _no_takes(self, draft: Draft, node: Node) -> Draft:
        mend = f"Write a whole number from 1 to {MAX_TAKES:,}."
        message = "is not a number of takes"
        problem = self._problem(node, "takes", shown(_text(node)), message, mend)
        return replace(draft, problems=(problem,))

    def _unfit_own(self, kept: dict[str, Node], texts: dict[str, str]) -> Iterator[Problem]:
        """Own values that nothing can hold."""
        for name, node in kept.items():
            try:
                check_own_text(texts[name])
            except CellError as error:
                yield self._problem(node, name, shown(texts[name]), error.message, error.mend)

    def _problem(self, at: Node, name: str, value: str | None, message: str, mend: str) -> Problem:
        return Problem(str(self.source), at.line, at.column, name, value, message, mend)


def open_yaml(source: Source, how: Reading) -> YamlFile:
    """Read the whole tree and its top level. Raises SpecError."""
    if require_file(source.path) > MAX_BYTES:
        raise SpecError(
            f"{source} has more than {MAX_BYTES // 1024**2} MB", mend="Split it, or write a CSV."
        )
    head = read_head(source, *read_tree(source))
    head = replace(head, keep=head.keep | how.keep)
    table = None if head.rows is None else open_table(source, head, head.rows)
    return YamlFile(source, head, table, _columns(head, table), synonyms())


def _columns(head: YamlHead, table: Table | None) -> tuple[str, ...]:
    """Keys that any row uses: prompt, id and model first, then as the schema has them, own last."""
    used = {"prompt"} | {axis.name for axis in head.axes} | _names(head.defaults)
    own: dict[str, None] = dict.fromkeys(table.own) if table else {}
    for row in (*head.items, *head.include):
        if isinstance(row, Entries):
            used |= _names(row.pairs)
            own |= dict.fromkeys(key.text for key, _ in row.pairs if is_own(key.text, head.keep))
    if table is not None:
        used |= table.fields | ({"id"} if head.row_id else set())
    first, *others = field_names()
    return (*(name for name in (first, "id", "model", *others) if name in used), *own)


def _names(pairs: tuple[Pair, ...]) -> set[str]:
    return {key.text for key, _ in pairs}


def _text(node: Node) -> str:
    if isinstance(node, Scalar):
        return node.text
    try:
        return canonical_json(as_json(node))
    except ValueError:  # a number out of range: the row's check says so
        return str(as_json(node))
