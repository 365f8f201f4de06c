"""Kinds of values that models take, and the checks their schemas share.

The checks run before pydantic's own and hand it one form of each value; what they refuse carries
its mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from orchestrator.domain.identity import MAX_DIGITS, Json, fits_plain

MAX_DEPTH = 20
"""How deep an object passed through may nest."""


class Kind(StrEnum):
    """How the written form of a field's value is to be read."""

    TEXT = "text"
    CHOICE = "choice"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    IMAGE = "image"
    IMAGES = "images"
    OBJECT = "object"


class RefusedError(ValueError):
    """What a validator raises: shown to the person as it is. Pydantic keeps it in its context."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


def clean_text(value: object) -> object:
    """Line ends become LF; nothing is trimmed or normalised. Refuses NUL and lone surrogates."""
    if not isinstance(value, str):
        return value
    _check_text(value)
    if "\r" in value:
        return value.replace("\r\n", "\n").replace("\r", "\n")
    return value


def whole(value: object) -> object:
    """A number that equals a whole one becomes it: 5.0 is 5."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and fits_plain(value) and value == value.to_integral_value():
        return int(value)
    return value


def number(value: object) -> object:
    """An exact decimal; a binary float stands for its shortest text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        value = Decimal(repr(value)) if isinstance(value, float) else _decimal(value)
    if isinstance(value, Decimal) and value.is_finite() and not fits_plain(value):
        raise _too_many_digits()
    return value


def json_object(value: object) -> object:
    """A JSON object, its numbers exact. Refuses what cannot be written in canonical JSON."""
    if not isinstance(value, Mapping):
        raise RefusedError("must be a JSON object", 'Write it like {"type": "simple"}.')
    return _json(value, MAX_DEPTH)


def _json(value: object, depth: int) -> Json:
    if depth < 0:
        raise RefusedError(f"nests deeper than {MAX_DEPTH} levels", "Make it flatter.")
    match value:
        case None | bool():
            return value
        case str():
            _check_text(value)
            return value
        case int():
            if abs(value) >= 10**MAX_DIGITS:
                raise _too_many_digits()
            return value
        case float() | Decimal():
            return _json_number(value)
        case Mapping():
            return {_json_key(key): _json(entry, depth - 1) for key, entry in value.items()}
        case list() | tuple():
            return [_json(entry, depth - 1) for entry in value]
        case _:
            raise RefusedError(
                f"has a value that is not JSON ({type(value).__name__})", "Remove it."
            )


def _json_key(key: object) -> str:
    if not isinstance(key, str):
        raise RefusedError("has a key that is not text", "Put the key in quotes.")
    _check_text(key)
    return key


def _check_text(text: str) -> None:
    if "\0" in text:
        raise RefusedError("has a NUL character", "Remove it.")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError("has half of a surrogate pair", "Remove the broken character.") from None


def _json_number(value: float | Decimal) -> Decimal:
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite():
        raise RefusedError("has a number that is not finite", "Write an ordinary number.")
    if not fits_plain(exact):
        raise _too_many_digits()
    return exact


def _decimal(value: int) -> Decimal:
    if abs(value) >= 10**MAX_DIGITS:
        raise _too_many_digits()
    return Decimal(value)


def _too_many_digits() -> RefusedError:
    return RefusedError(f"has a number with more than {MAX_DIGITS} digits", "Round it.")
