"""The provider's JSON as it comes: lenient models that never raise and never meet a binary float.

Field names are those of the API document's output example; everything may be absent, null or of
another type. What cannot be used reads as None, except costs: those stay as they came, because an
unreadable cost must be noticed (`orchestrator.provider.classify`).
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict

MAX_ID = 500
"""Characters of an identifier; a longer one is no identifier."""
_MAX_WORD = 100


class UnreadableError(ValueError):
    """A body that is no JSON object; the message says why in a few words."""


def clean(text: str, limit: int) -> str:
    """Text that every store can take: no NUL, no lone surrogate, at most `limit` bytes."""
    safe = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return safe[:limit].decode("utf-8", "ignore")


def _number(text: str) -> Decimal | str:
    """A JSON number without rounding; text where not even Decimal can hold its exponent."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


# Made once: json.loads would make one for each answer.
_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=Decimal)


def parse_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`, numbers with a point as Decimal. Raises UnreadableError."""
    if not body.strip():
        raise UnreadableError("the answer is empty")
    try:
        value = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        raise UnreadableError("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise UnreadableError("the answer is JSON, but no object")
    return cast("dict[str, object]", value)


def _identifier(value: object) -> str | None:
    """A text (or whole number) that can be stored, shown and put into a path, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        return None
    # Dots alone would climb in a path; what is not printable cannot be stored everywhere.
    printable = value.isprintable() and value.strip(" ")
    return value if printable and value.strip(".") else None


def _word(value: object) -> str:
    return clean(value, _MAX_WORD) if isinstance(value, str) else ""


def _object(value: object) -> object:
    return value if isinstance(value, dict) else None


def _list(value: object) -> object:
    return value if isinstance(value, list) else []


Identifier = Annotated[str | None, BeforeValidator(_identifier)]
Word = Annotated[str, BeforeValidator(_word)]


class WireOutput(BaseModel):
    """`output` of a task. `videos` holds objects with a `url`, or bare texts."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    videos: Annotated[list[object], BeforeValidator(_list)] = []

    def urls(self) -> tuple[str, ...]:
        """Every URL in the provider's order; entries without one are left out."""
        entries = (entry.get("url") if isinstance(entry, dict) else entry for entry in self.videos)
        return tuple(
            url.strip() for url in entries if isinstance(url, str) and _identifiable(url.strip())
        )


def _identifiable(url: str) -> bool:
    return bool(url) and url.isprintable()


class WireTask(BaseModel):
    """A task as POST /tasks and GET /tasks/{id} describe it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    task_id: Identifier = None
    request_id: Identifier = None
    status: Word = ""
    cost_estimate: object = None
    cost_actual: object = None
    output: Annotated[WireOutput | None, BeforeValidator(_object)] = None


_MESSAGE_KEYS = ("message", "msg", "detail", "error", "errors", "reason")
_MAX_DEPTH = 5
_MAX_ITEMS = 20


def message_of(value: object, depth: int = 0) -> str:
    """The sentence in an error of undocumented shape: text, object or list of either; else ""."""
    if isinstance(value, str):
        return value.strip()
    if depth == _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        parts = (message_of(entry, depth + 1) for entry in value[:_MAX_ITEMS])
        return "; ".join(part for part in parts if part)
    if isinstance(value, dict):
        for key in _MESSAGE_KEYS:
            if found := message_of(value.get(key), depth + 1):
                return _placed(value.get("loc"), found)
    return ""


def _placed(loc: object, message: str) -> str:
    """FastAPI's 422 names the field in `loc`: `["body", "input", "duration"]`."""
    if isinstance(loc, list) and loc and len(loc) <= _MAX_ITEMS:
        return f"{'.'.join(str(part)[:_MAX_WORD] for part in loc)}: {message}"
    return message


class WireError(BaseModel):
    """An error body, read leniently: `error.message`, `error`, `message`, `detail`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    error: object = None
    message: object = None
    detail: object = None
    code: object = None
    request_id: Identifier = None

    def sentence(self) -> str:
        """The first of error, message and detail that says something; "" when none does."""
        found = (message_of(value) for value in (self.error, self.message, self.detail))
        return next((text for text in found if text), "")

    def code_word(self) -> str | None:
        """A short machine-readable code, where there is one."""
        error = self.error if isinstance(self.error, dict) else {}
        for value in (error.get("code"), error.get("type"), self.code):
            if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
                return clean(str(value), _MAX_WORD)
        return None

    def any_request_id(self) -> str | None:
        """`request_id` at the top or inside `error`."""
        inner = self.error.get("request_id") if isinstance(self.error, dict) else None
        return self.request_id or _identifier(inner)
