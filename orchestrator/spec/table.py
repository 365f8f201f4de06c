"""The table that a YAML spec takes its rows from: `rows: products.csv`, and templates over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.domain.models import shown, suggestion
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.csv_file import drafts
from orchestrator.spec.csv_header import CsvHeader, read_header
from orchestrator.spec.entries import Draft
from orchestrator.spec.files import Source, require_text
from orchestrator.spec.own import is_own, known_columns
from orchestrator.spec.sources import STANDARD_INPUT, Reading, ending, received
from orchestrator.spec.templates import Template, TemplateError, folded, parse_template
from orchestrator.spec.yaml_head import YamlHead
from orchestrator.spec.yaml_tree import Node, Scalar

TEMPLATED = ("prompt", "negative_prompt", "image_url")
ENDINGS = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Table:
    """A table whose header was read.

    `fields`: columns that are fields of the rows. `own`: columns given back in results, as
    written. `templates`: texts of the lists (and the ids' template), as parsed.
    """

    source: Source
    head: CsvHeader
    fields: frozenset[str]
    own: tuple[str, ...]
    templates: Mapping[str, Template]
    problems: tuple[Problem, ...]

    def rows(self) -> Iterator[Draft]:
        """The table's rows; `values` has every cell that is not empty, by its folded name.

        A row in which a placeholder finds nothing comes with that problem.
        """
        needed = dict.fromkeys(n for template in self.templates.values() for n in template.names)
        for draft in drafts(self.source, self.head):
            row = replace(draft, table=str(self.source), decimal_comma=self.head.delimiter != ",")
            if row.problems:
                yield row
                continue
            cells = _cells(row)
            empty = [name for name in needed if name not in cells and name in draft.columns]
            problems = tuple(self._empty(row, name) for name in empty)
            yield replace(row, row_id=None, model=None, values=cells, problems=problems)

    def fill(self, text: str, cells: Mapping[str, str]) -> str:
        """A template of the spec with one row's cells."""
        return self.templates[text].fill(cells)

    def _empty(self, row: Draft, name: str) -> Problem:
        place = row.place(name)
        mend = "Fill the cell; the text of a prompt needs it."
        return Problem(str(self.source), place.line, place.column, name, None, "is empty", mend)


def _cells(row: Draft) -> dict[str, str]:
    cells = {name: text for name, text in row.values.items() if isinstance(text, str)}
    first = {"id": row.row_id, "model": row.model}
    return cells | {name: text for name, text in first.items() if text is not None}


def open_table(spec: Source, head: YamlHead, rows: Scalar) -> Table:
    """Open the table beside its spec, and hold its columns against the templates.

    Raises SpecError where the table as a whole cannot be read.
    """
    path = _beside(spec) / rows.text
    source = Source(str(path), path)
    if ending(path, source) not in ENDINGS:
        raise SpecError(
            f"{spec}:{rows.line}:{rows.column} rows: {rows.text} is no table that can be read",
            mend=f"Name a file that ends in {', '.join(ENDINGS)}.",
            code="format",
        )
    try:
        source = received(path, Reading())
    except SpecError as error:
        place = f"{spec}:{rows.line}:{rows.column} rows:"
        raise SpecError(f"{place} {error.message}", mend=error.mend, code=error.code) from None
    try:
        require_text(source)
    except SpecError as error:
        if error.code != "encoding":
            raise
        mend = "Save it as UTF-8: --encoding is about the spec, not its table."
        raise SpecError(
            error.message, mend=mend, problems=error.problems, code=error.code
        ) from None
    header = read_header(source, told=None, keep=head.keep, free=True)
    return _Fitting(spec, source, head, header).table()


def _beside(spec: Source) -> Path:
    """The folder of the spec; the working directory where it came by standard input."""
    return Path() if spec.name == str(STANDARD_INPUT) else Path(spec.name).parent


class _Fitting:
    """Which column is for what, and what does not fit."""

    def __init__(self, spec: Source, table: Source, head: YamlHead, header: CsvHeader) -> None:
        self._spec = spec
        self._table = table
        self._head = head
        self._header = header
        self._columns = {name: at for at, name in enumerate(header.names, start=1) if name}
        self._problems = list(header.problems)
        self._meant = set[str]()
        """Columns that something which is wrong was about: of them nothing more is said."""

    def table(self) -> Table:
        templates = self._templates()
        used = {name for template in templates.values() for name in template.names}
        self._refuse_templates_in_defaults()
        fields = self._fields(used)
        self._refuse_unused(used | fields | self._meant)
        self._refuse_missing_prompt(fields)
        self._refuse_equal_ids(fields, templates)
        own = tuple(
            column
            for column, name in zip(self._header.columns, self._header.names, strict=True)
            if name and name not in fields and is_own(name, self._head.keep)
        )
        return Table(
            self._table, self._header, frozenset(fields), own, templates, tuple(self._problems)
        )

    def _templates(self) -> dict[str, Template]:
        texts = [
            (axis.name, node)
            for axis in self._head.axes
            if axis.name in TEMPLATED
            for node in axis.nodes
        ]
        if self._head.row_id is not None:
            texts.append(("id", self._head.row_id))
        beside = {axis.name for axis in self._head.axes}
        found = {}
        for name, node in texts:
            if not isinstance(node, Scalar):
                continue
            try:
                template = parse_template(node.text)
            except TemplateError as error:
                self._report(node, name, node.text, error.message, error.mend)
                template = Template(((node.text, None),))
                self._meant |= {name for name in self._columns if name in folded(node.text)}
            for placeholder in template.names:
                if placeholder not in self._columns and not (
                    name == "id" and placeholder in beside
                ):
                    self._unknown(node, name, placeholder)
            found[node.text] = template
        return found

    def _unknown(self, node: Scalar, name: str, placeholder: str) -> None:
        meant = suggestion(placeholder, self._columns)
        self._meant |= {meant} if meant else set()
        mend = (
            f"Did you mean {{{meant}}}?"
            if meant
            else f"Its columns: {', '.join(self._columns)}. Write {{{{ for a brace in the text."
        )
        message = f"{self._table} has no column for {{{shown(placeholder)}}}"
        self._report(node, name, node.text, message, mend)

    def _refuse_templates_in_defaults(self) -> None:
        for key, node in self._head.defaults:
            if not isinstance(node, Scalar) or key.text not in TEMPLATED:
                continue
            if any(f"{{{name}}}" in node.text.casefold() for name in self._columns):
                mend = f"Write it at the top level: {key.text}: …"
                message = "is a template, and defaults are taken as they are"
                self._report(node, key.text, node.text, message, mend)

    def _fields(self, used: set[str]) -> set[str]:
        """Columns that name fields; one whose field is a list here is for templates alone."""
        lists = {axis.name for axis in self._head.axes}
        if self._head.row_id is not None:
            lists.add("id")
        fields = set()
        for name in self._columns:
            if name not in known_columns():
                continue
            if name not in lists:
                fields.add(name)
            elif name not in used:
                mend = f"Leave one of the two out, or use the column as {{{name}}}."
                self._column(name, "is given twice: by this column and in the spec", mend)
                self._meant.add(name)
        return fields

    def _refuse_unused(self, used: set[str]) -> None:
        for name in self._columns:
            if name in used or is_own(name, self._head.keep):
                continue
            meant = suggestion(name, known_columns())
            mend = (
                f'Did you mean "{meant}"? Otherwise use it as {{{name}}}, or list it under keep.'
                if meant
                else f"Use it as {{{name}}}, list it under keep, or take it out."
            )
            self._column(name, "is a column that nothing uses", mend)

    def _refuse_missing_prompt(self, fields: set[str]) -> None:
        if "prompt" in fields or any(axis.name == "prompt" for axis in self._head.axes):
            return
        if self._head.problems:
            return  # the list of prompts may be what they are about
        mend = 'Write prompt: "A {style} shot of {product}", or give the table a column prompt.'
        rows = self._head.rows
        assert rows is not None  # noqa: S101 narrows for the type checker
        self._report(rows, "rows", rows.text, "makes no prompts", mend)

    def _refuse_equal_ids(self, fields: set[str], templates: Mapping[str, Template]) -> None:
        many = [axis.name for axis in self._head.axes if len(axis.nodes) > 1]
        node, text = self._head.row_id, "{id}"
        if node is not None:
            text = node.text
            many = [] if self._head.exclude else many
            many = [name for name in many if name not in templates[text].names]
        elif "id" not in fields:
            return
        if not many:
            return
        wanted = "-".join([text, *(f"{{{name}}}" for name in many)])
        message = "would be the id of several rows, as lists multiply them"
        mend = f'Write id: "{wanted}" in the spec.'
        if node is not None:
            self._report(node, "id", text, message, mend)
        else:
            self._column("id", message, mend)

    def _column(self, name: str, message: str, mend: str) -> None:
        at = self._columns[name]
        line = self._header.line
        self._problems.append(Problem(str(self._table), line, at, shown(name), None, message, mend))

    def _report(self, at: Node, name: str, value: str, message: str, mend: str) -> None:
        self._problems.append(
            Problem(str(self._spec), at.line, at.column, name, shown(value), message, mend)
        )
