"""What the API takes: the documented input schema of kling-v2-6, checked to the letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

MODEL = "kling-v2-6"
_BASE = Decimal("0.0414")
"""The one documented figure: std, 5 seconds, silent. The factors below are the sandbox's own."""
_FACTORS = {
    ("mode", "pro"): Decimal(2),
    ("duration", 10): Decimal(2),
    ("audio", True): Decimal("1.5"),
}

Json = object


class InvalidRequestError(ValueError):
    """A request the API refuses; `code` is its short name, the text says what is wrong."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _text(longest: int, shortest: int = 0) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest


def _one_of(*choices: object) -> Callable[[object], bool]:
    return lambda value: any(value == c and type(value) is type(c) for c in choices)


def _number(low: float, high: float) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high


FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "prompt": (_text(2500, 1), "a string of 1 to 2500 characters"),
    "negative_prompt": (_text(2500), "a string of at most 2500 characters"),
    "size": (_one_of("16:9", "9:16", "1:1"), "one of 16:9, 9:16, 1:1"),
    "duration": (_one_of(5, 10), "5 or 10"),
    "mode": (_one_of("std", "pro"), "std or pro"),
    "audio": (lambda v: isinstance(v, bool), "true or false"),
    "seed": (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 2147483647,
        "an integer from 0 to 2147483647",
    ),
    "cfg_scale": (_number(0, 1), "a number from 0 to 1"),
    "image_url": (lambda v: isinstance(v, str) and bool(v), "a string"),
    "image_urls": (
        lambda v: isinstance(v, list) and len(v) <= 1 and all(isinstance(x, str) for x in v),
        "an array of at most one string",
    ),
    "camera_control": (lambda v: isinstance(v, dict), "an object"),
}
DEFAULTS = {"size": "16:9", "duration": 5, "mode": "std", "audio": False, "cfg_scale": 0.5}


def read_task(body: bytes) -> dict[str, object]:
    """The input with its defaults. Raises InvalidRequestError."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise InvalidRequestError(400, "invalid_json", "the body is not JSON") from None
    if not isinstance(asked, dict):
        raise InvalidRequestError(422, "invalid_request", "the body must be an object")
    if asked.get("model") != MODEL:
        raise InvalidRequestError(404, "unknown_model", f"there is no model {asked.get('model')!r}")
    given = asked.get("input")
    if not isinstance(given, dict):
        raise InvalidRequestError(422, "invalid_input", "input must be an object")
    faults = [f"{name}: no such field" for name in given if name not in FIELDS]
    faults += [
        f"{name}: must be {what}"
        for name, (good, what) in FIELDS.items()
        if name in given and not good(given[name])
    ]
    if "prompt" not in given:
        faults.append("prompt: is required")
    full = DEFAULTS | given
    if full["audio"] is True and full["mode"] != "pro":
        faults.append("audio: is available with pro mode only")
    if faults:
        raise InvalidRequestError(422, "invalid_input", "; ".join(faults))
    return full


def price(full: dict[str, object]) -> Decimal:
    """USD for an input with its defaults."""
    amount = _BASE
    for (field, value), factor in _FACTORS.items():
        if full[field] == value:
            amount *= factor
    return amount.normalize()
