"""From drafts to rows: ids, values, the model's verdict, keys. The same for every format."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from orchestrator.domain.identity import (
    Json,
    canonical_json,
    content_key,
    digest_from_json,
    row_key,
)
from orchestrator.domain.models import (
    DEFAULT_MODEL,
    InputError,
    InputField,
    Kind,
    NormalInput,
    UnknownModelError,
    VideoModel,
    get_model,
    shown,
)
from orchestrator.errors import Problem
from orchestrator.spec.cells import CellError, Noted, read_cell
from orchestrator.spec.entries import BadRow, Checked, Draft, Note, SpecRow
from orchestrator.spec.ids import check_id
from orchestrator.spec.local_images import LocalImages

_IMAGES = (Kind.IMAGE, Kind.IMAGES)


class RowChecker:
    """Checks one file's drafts in order; remembers ids and how often equal rows came.

    `decimal_comma`: 0,5 is a number. `unwritable`: fields whose column the header lacks or
    misspells, already reported there and not again in every row.
    """

    def __init__(
        self,
        file: str,
        *,
        decimal_comma: bool = False,
        unwritable: frozenset[str] = frozenset(),
    ) -> None:
        self._file = file
        self._images = LocalImages(Path() if file == "-" else Path(file).parent)
        self._decimal_comma = decimal_comma
        self._unwritable = unwritable
        self._position = -1
        self._ids = _Ids()
        self._occurrences: dict[str, int] = {}
        self._fields: dict[str, Mapping[str, InputField]] = {}

    def check(self, draft: Draft) -> Checked:
        """The row that a draft makes, or all that is wrong with it."""
        self._position += 1
        if draft.problems:
            return self._refused(draft, self._row_id(draft, []), draft.problems, ())
        problems: list[Problem] = []
        notes: list[Note] = []
        row_id = self._row_id(draft, problems)
        model = self._model(draft, problems)
        normal = None if model is None else self._normal(model, draft, problems, notes)
        if problems or model is None or normal is None:
            problems.sort(key=lambda problem: (problem.line, problem.column))
            return self._refused(draft, row_id, tuple(problems), tuple(notes))
        return Checked(self._row(draft, row_id, model, normal), (), tuple(notes))

    def _row(
        self, draft: Draft, row_id: str | None, model: VideoModel, normal: NormalInput
    ) -> SpecRow:
        input_json = canonical_json(normal.values)
        digest = digest_from_json(model.slug, input_json)
        return SpecRow(
            position=self._position,
            line=draft.line,
            row_key=self._row_key(row_id, digest),
            row_id=row_id,
            model=model.slug,
            digest=digest,
            input_json=input_json,
            price_class=model.price_class(normal),
            source=draft.source,
        )

    def _refused(
        self,
        draft: Draft,
        row_id: str | None,
        problems: tuple[Problem, ...],
        notes: tuple[Note, ...],
    ) -> Checked:
        bad = None if draft.last else partial(self._bad, draft, row_id, problems)
        return Checked(None, problems, notes, bad)

    def _bad(self, draft: Draft, row_id: str | None, problems: tuple[Problem, ...]) -> BadRow:
        """The row with what was written in place of an input."""
        written = dict(draft.source) or {"": " ".join(problem.message for problem in problems)}
        digest = digest_from_json("", json.dumps(written, sort_keys=True))
        return BadRow(draft.line, self._row_key(row_id, digest), digest, draft.source, problems)

    def _row_key(self, row_id: str | None, digest: str) -> str:
        """The row's own id, or its content and its number among equal rows."""
        if row_id is not None:
            return row_key(row_id, digest, 1)
        content = content_key(digest)
        occurrence = self._occurrences[content] = self._occurrences.get(content, 0) + 1
        return row_key(None, digest, occurrence)

    def _row_id(self, draft: Draft, problems: list[Problem]) -> str | None:
        text = (draft.row_id or "").strip()
        if not text:
            return None
        try:
            check_id(text)
        except CellError as error:
            problems.append(self._problem(draft, "id", text, error.message, error.mend))
            return None
        first = self._ids.seen(text, draft.line)
        if first is not None:
            message = f"is the id of two rows, in lines {first} and {draft.line}"
            mend = "Give each row an id of its own."
            problems.append(self._problem(draft, "id", text, message, mend))
            return None
        return text

    def _model(self, draft: Draft, problems: list[Problem]) -> VideoModel | None:
        slug = (draft.model or "").strip() or DEFAULT_MODEL
        try:
            return get_model(slug)
        except UnknownModelError as error:
            problems.append(self._problem(draft, "model", slug, error.message, error.mend))
            return None

    def _normal(
        self, model: VideoModel, draft: Draft, problems: list[Problem], notes: list[Note]
    ) -> NormalInput | None:
        values = self._values(model, draft, problems, notes)
        try:
            return model.normalise(values)
        except InputError as error:
            reported = {problem.field for problem in problems} | self._unwritable
            problems += [
                self._problem(draft, fault.field, fault.value, fault.message, fault.mend)
                for fault in error.faults
                if fault.field not in reported
            ]
            return None

    def _values(
        self, model: VideoModel, draft: Draft, problems: list[Problem], notes: list[Note]
    ) -> dict[str, Json]:
        """Written texts read as values; what cannot be read becomes a problem and stays out."""
        fields = self._fields_of(model)
        comma = self._decimal_comma or draft.decimal_comma
        values: dict[str, Json] = {}
        for name, written in draft.values.items():
            described = fields.get(name)
            if described is None or not isinstance(written, str):
                values[name] = written
                continue
            try:
                value = read_cell(described, written, decimal_comma=comma)
            except CellError as error:
                problems.append(self._problem(draft, name, written, error.message, error.mend))
                continue
            if isinstance(value, Noted):
                place = draft.place(name)
                notes.append(
                    Note(
                        place.file or self._file,
                        place.line,
                        place.column,
                        name,
                        shown(written),
                        value.note,
                    )
                )
                value = value.value
            values[name] = value
        self._take_images(draft, fields, values, problems, notes)
        _refuse_blank(values)
        return values

    def _take_images(
        self,
        draft: Draft,
        fields: Mapping[str, InputField],
        values: dict[str, Json],
        problems: list[Problem],
        notes: list[Note],
    ) -> None:
        """Images named by a path are put in their place; what cannot be had is a problem."""
        for name in [name for name in values if name in fields and fields[name].kind in _IMAGES]:
            value = values[name]
            several = isinstance(value, list | tuple)
            taken: list[Json] = []
            for reference in value if isinstance(value, list | tuple) else [value]:
                if not isinstance(reference, str):
                    taken.append(reference)
                    continue
                try:
                    image, note = self._images.resolve(reference)
                except CellError as error:
                    problems.append(
                        self._problem(draft, name, reference, error.message, error.mend)
                    )
                    values.pop(name, None)
                    continue
                taken.append(image)
                if note is not None:
                    place = draft.place(name)
                    file = place.file or self._file
                    notes.append(Note(file, place.line, place.column, name, shown(reference), note))
            if name in values:
                values[name] = taken if several else taken[0]

    def _fields_of(self, model: VideoModel) -> Mapping[str, InputField]:
        fields = self._fields.get(model.slug)
        if fields is None:
            fields = self._fields[model.slug] = {known.name: known for known in model.fields}
        return fields

    def _problem(
        self, draft: Draft, name: str, value: str | None, message: str, mend: str
    ) -> Problem:
        place = draft.place(name)
        short = None if value is None else shown(value)
        file = place.file or self._file
        return Problem(file, place.line, place.column, name, short, message, mend)


class _Ids:
    """Ids and the lines they stand in; a line takes four bytes until somebody asks for it."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._lines = array("I")
        self._line_of: dict[str, int] | None = None

    def seen(self, row_id: str, line: int) -> int | None:
        """The line where an id stood first; None where that is here."""
        if row_id not in self._ids:
            self._ids[row_id] = None
            self._lines.append(line)
            if self._line_of is not None:
                self._line_of[row_id] = line
            return None
        if self._line_of is None:
            self._line_of = dict(zip(self._ids, self._lines, strict=True))
        return self._line_of[row_id]


def _refuse_blank(values: dict[str, Json]) -> None:
    """A prompt of nothing but white space is a slip that would cost money: it counts as empty."""
    prompt = values.get("prompt")
    if isinstance(prompt, str) and prompt.isspace():
        values["prompt"] = ""
