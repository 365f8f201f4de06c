"""Typed access to one record's JSON object."""

from __future__ import annotations

import json
from typing import cast


class RecordError(ValueError):
    """A line that is no record of this format; the message says why."""


# Made once: json.dumps would make one for each line.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def compact(value: object) -> str:
    """JSON in ASCII without spaces: one line, whatever the texts in it hold.

    Raises RecordError for a number that JSON cannot hold.
    """
    try:
        return _ENCODER.encode(value)
    except ValueError as error:
        raise RecordError(str(error)) from None


def parse(text: str) -> dict[str, object]:
    """The JSON object in `text`. Raises RecordError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecordError("no JSON object")
    return cast("dict[str, object]", value)


class Fields:
    """Takes known fields out by type; what is left was written by a newer version.

    Every getter raises RecordError for a missing field or another type.
    """

    def __init__(self, values: dict[str, object]) -> None:
        self._left = dict(values)

    def absent(self, name: str) -> bool:
        """Whether the field is missing or null; a null is taken out."""
        if self._left.get(name) is not None:
            return False
        self._left.pop(name, None)
        return True

    def text(self, name: str) -> str:
        value = self.text_or_none(name)
        if value is None:
            raise RecordError(f"{name} is missing")
        return value

    def text_or_none(self, name: str) -> str | None:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise RecordError(f"{name} is no text")
        return value

    def number(self, name: str) -> int:
        value = self.number_or_none(name)
        if value is None:
            raise RecordError(f"{name} is missing")
        return value

    def number_or_none(self, name: str) -> int | None:
        value = self._left.pop(name, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise RecordError(f"{name} is no whole number")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """An absent list is an empty one."""
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise RecordError(f"{name} is no list of texts")
        return tuple(value)

    def rest(self) -> str:
        """The fields nobody took, as compact JSON; "" when there are none."""
        return compact(self._left) if self._left else ""
