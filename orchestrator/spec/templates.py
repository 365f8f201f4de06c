"""Texts with places for a table's columns: `A {style} shot of {product}`; `{{` is a brace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MARK = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")


class TemplateError(ValueError):
    """A text whose braces cannot be read; says what to write instead."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Template:
    """`parts`: a literal text, and the column whose value follows it (None at the end)."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns it needs, folded, each once."""
        return tuple(dict.fromkeys(name for _, name in self.parts if name is not None))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text for one row; `values` has every name."""
        filled = ((text, "" if name is None else values[name]) for text, name in self.parts)
        return "".join(part for pair in filled for part in pair)


def parse_template(text: str) -> Template:
    """Raises TemplateError for a brace that stands alone or holds no name."""
    parts: list[tuple[str, str | None]] = []
    literal = ""
    start = 0
    for mark in _MARK.finditer(text):
        literal += text[start : mark.start()]
        start = mark.end()
        if mark[0] in {"{{", "}}"}:
            literal += mark[0][0]
            continue
        if mark["name"] is None:
            raise TemplateError(
                f"has a lone {mark[0]} at character {mark.start() + 1}",
                f"Write {mark[0] * 2} for a brace in the text.",
            )
        name = folded(mark["name"])
        if not name:
            raise TemplateError(
                f"has braces without a name at character {mark.start() + 1}",
                "Write a column's name in them, or {{ and }} for braces in the text.",
            )
        parts.append((literal, name))
        literal = ""
    return Template((*parts, (literal + text[start:], None)))


def folded(name: str) -> str:
    """The form in which names of columns are compared: case and outer spaces do not matter."""
    return name.strip().casefold()
