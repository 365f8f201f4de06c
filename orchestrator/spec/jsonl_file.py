"""JSON lines: one object per row, its keys the fields of the row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.domain.identity import Json, canonical_json
from orchestrator.domain.models import shown
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.cells import CellError, parse_json
from orchestrator.spec.checking import RowChecker
from orchestrator.spec.entries import Checked, Draft, SpecHeader
from orchestrator.spec.files import Source, opened
from orchestrator.spec.own import (
    MAX_NAME,
    check_own_text,
    is_own,
    known_columns,
    mend_unknown,
)
from orchestrator.spec.sources import Reading
from orchestrator.spec.templates import folded

MAX_CHARS = 15 * 1024 * 1024
"""Of one line: as much as a CSV's largest cell."""
MAX_COLUMNS = 1000
_MEND = 'Write one object in each line, like {"prompt": "A cat", "size": "9:16"}.'


@dataclass(frozen=True)
class JsonlFile:
    """A file of JSON lines. Its columns are known as far as it was read."""

    source: Source
    keep: frozenset[str]
    seen: dict[str, None] = field(default_factory=dict)

    @property
    def header(self) -> SpecHeader:
        """JSON lines have no place for a name, a model or a budget."""
        return SpecHeader()

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the rows read so far, as written first."""
        return tuple(self.seen)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """None: there is no head."""
        return ()

    def checked(self) -> Iterator[Checked]:
        """One entry per line that is not blank. Raises SpecError where reading fails."""
        checker = RowChecker(str(self.source))
        with opened(self.source) as file:
            for line, text in enumerate(file, start=1):
                if not text.isspace():
                    yield checker.check(self._draft(line, text))

    def _draft(self, line: int, text: str) -> Draft:
        try:
            found = self._object(text)
        except CellError as error:
            return self._refused(line, None, error)
        values: dict[str, Json] = {}
        source: dict[str, str] = {}
        for key, value in found.items():
            name = folded(key)
            try:
                self._check(name, value, values)
            except CellError as error:
                return self._refused(line, key, error)
            if value is None and name in known_columns():
                continue
            source[key] = _written(value)
            blank = isinstance(value, str) and not value.strip()
            if name in known_columns() and not blank:
                values[name] = value
        for key in source:
            self._see(key)
        return Draft(
            line=line,
            column=1,
            row_id=_text(values.pop("id", None)),
            model=_text(values.pop("model", None)),
            values=values,
            source=source,
            columns={},
        )

    def _object(self, text: str) -> dict[str, Json]:
        if len(text) > MAX_CHARS:
            raise CellError(f"has more than {MAX_CHARS:,} characters", "Host the image.")
        try:
            found = parse_json(text)
        except CellError as error:
            raise CellError(error.message, _MEND) from None
        if not isinstance(found, dict):
            raise CellError("is not a JSON object", _MEND)
        return found

    def _check(self, name: str, value: Json, values: dict[str, Json]) -> None:
        if name in values:
            raise CellError("is there twice", "Leave one of the two out.")
        if name in {"id", "model"} and (
            isinstance(value, bool) or not (value is None or isinstance(value, str | int))
        ):
            raise CellError("must be text", "Put it in double quotes.")
        if name in known_columns():
            return
        if not is_own(name, self.keep) or len(name) > MAX_NAME or not name.isprintable():
            raise CellError("is not a known field", mend_unknown(name, known_columns()))
        check_own_text(_written(value))

    def _see(self, key: str) -> None:
        self.seen.setdefault(key)
        if len(self.seen) > MAX_COLUMNS:
            raise SpecError(
                f"{self.source} has more than {MAX_COLUMNS:,} different keys",
                mend="Give all rows the same keys.",
            )

    def _refused(self, line: int, key: str | None, error: CellError) -> Draft:
        name = None if key is None else shown(key)
        problem = Problem(str(self.source), line, 1, name, None, error.message, error.mend)
        return Draft(line, 1, None, None, {}, {}, {}, problems=(problem,))


def open_jsonl(source: Source, how: Reading) -> JsonlFile:
    """Raises SpecError where there is no line with text."""
    with opened(source) as file:
        if all(text.isspace() for text in file):
            raise SpecError(f"{source} has no rows", mend=_MEND, code="no_rows")
    return JsonlFile(source, how.keep)


def _text(value: Json) -> str | None:
    return None if value is None else _written(value)


def _written(value: Json) -> str:
    """As a cell would have it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return canonical_json(value)
    except ValueError:  # a number out of range: the row's check says so
        return str(value)
