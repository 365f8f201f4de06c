"""From the text a person wrote, or a spreadsheet made of it, to the value it stands for.

Text that stands for nothing clear is left as it is: the model's schema says what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from orchestrator.domain.identity import MAX_DIGITS, Json
from orchestrator.domain.models import InputField, Kind, shown

_TIME = re.compile(r"(\d{1,2}):(\d{1,2})(?::00)?")
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_COMMA = re.compile(r"[+-]?\d*,\d+")

# Spreadsheets write TRUE and FALSE in the language they are set to.
_FLAGS = {
    **dict.fromkeys(("true", "yes", "y", "on", "1", "wahr", "vrai", "verdadero", "vero"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0", "falsch", "faux", "falso"), False),
}


class CellError(ValueError):
    """Text that cannot be read as a value of its field."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Noted:
    """A value that was written otherwise; `note` says what it was understood as."""

    value: Json
    note: str


def read_cell(described: InputField, text: str, *, decimal_comma: bool) -> Json | Noted:
    """The value of a field's text. Raises CellError."""
    if described.kind is Kind.TEXT:
        return text
    reader = _READERS.get(described.kind)
    text = text.strip()
    return text if reader is None else reader(described, text, decimal_comma)


def _choice(described: InputField, text: str, _decimal_comma: bool) -> Json | Noted:
    if text in described.choices:
        return text
    for choice in described.choices:
        if str(choice) == text.lower():
            return choice
    time = _TIME.fullmatch(text)
    if time:
        ratio = f"{int(time[1])}:{int(time[2])}"
        if ratio in described.choices:
            return Noted(ratio, f"{text} was read as {ratio} (a spreadsheet took it for a time)")
    return text


def _integer(_described: InputField, text: str, decimal_comma: bool) -> Json:
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text)
    if _SCIENTIFIC.fullmatch(text):
        raise CellError(
            "is in scientific notation, as Excel shortens long numbers; digits may be lost",
            "Write all its digits; in Excel, format the column as text first.",
        )
    return _number(_described, text, decimal_comma)


def _number(_described: InputField, text: str, decimal_comma: bool) -> Json:
    if decimal_comma and _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    elif _COMMA.fullmatch(text):
        raise CellError("has a comma in a number", f"Write {text.replace(',', '.')}.")
    return Decimal(text) if _DECIMAL.fullmatch(text) else text


def _flag(_described: InputField, text: str, _decimal_comma: bool) -> Json:
    return _FLAGS.get(text.lower(), text)


def _images(_described: InputField, text: str, _decimal_comma: bool) -> Json:
    return parse_json(text) if text.startswith("[") else [text]


def _object(_described: InputField, text: str, _decimal_comma: bool) -> Json:
    return parse_json(text)


_READERS: dict[Kind, Callable[[InputField, str, bool], Json | Noted]] = {
    Kind.CHOICE: _choice,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
    Kind.IMAGES: _images,
    Kind.OBJECT: _object,
}


def parse_json(text: str) -> Json:
    """JSON with exact numbers and no key twice. Raises CellError."""
    try:
        parsed: Json = json.loads(
            text,
            parse_float=Decimal,
            parse_int=_json_int,
            parse_constant=_no_constant,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise CellError(
            f"is not valid JSON ({error.msg} at character {error.pos + 1})",
            'Write it like {"type": "simple"}, with straight double quotes.',
        ) from None
    except InvalidOperation:
        raise CellError("has a number out of range", "Write an ordinary number.") from None
    except RecursionError:
        raise CellError("nests too deep", "Make it flatter.") from None
    return parsed


def _json_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= MAX_DIGITS else Decimal(text)


def _no_constant(text: str) -> Json:
    raise CellError(f"has the number {text}, which JSON does not know", "Write a number.")


def _unique(pairs: list[tuple[str, Json]]) -> Json:
    found: dict[str, Json] = {}
    for name, value in pairs:
        if name in found:
            raise CellError(f"has the key {shown(name)} twice", "Leave one of the two out.")
        found[name] = value
    return found
