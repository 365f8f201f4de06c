"""What makes a row the same row, and a purchase the same purchase (docs/identity.md).

Canonical JSON: keys sorted by code point, no spaces, text unescaped but for `"`, `\\` and control
characters, numbers in plain decimal notation without a needless zero. Two inputs are equal exactly
if their canonical JSON is. Published test vectors pin every function here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring

KEY_VERSION = 1
"""Pins the array of a key and the bytes of a body; stored with a batch."""

MAX_DIGITS = 40
"""Digits a number may need on either side of the point in plain notation."""

_BEYOND = 10**MAX_DIGITS
# Made once: a union written in place would be built again for every value.
_NUMBERS = (int, Decimal)
_ARRAYS = (list, tuple)
_WORDS = {None: "null", True: "true", False: "false"}
_ID_MARK = "~"
_DIGEST_CHARS = 20

Json = str | int | bool | Decimal | None | Sequence["Json"] | Mapping[str, "Json"]
"""JSON without binary floats."""


def canonical_json(value: Json) -> str:
    """The one text of a value.

    Raises ValueError for a number that `fits_plain` refuses, TypeError for what is not JSON here
    (a float among them: its decimal text must be chosen by whoever read it).
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, _NUMBERS):
        return plain_number(value)
    if isinstance(value, Mapping):
        return _canonical_object(value)
    if isinstance(value, _ARRAYS):
        return "[" + ",".join([canonical_json(entry) for entry in value]) + "]"
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def _canonical_object(value: Mapping[str, Json]) -> str:
    pairs = [
        f"{encode_basestring(key)}:"
        f"{encode_basestring(entry) if type(entry) is str else canonical_json(entry)}"
        for key, entry in sorted(value.items())
    ]
    return "{" + ",".join(pairs) + "}"


@lru_cache(maxsize=1024)
def plain_number(value: int | Decimal) -> str:
    """Plain decimal notation: 1.0 is `1`, 0.50 is `0.5`, 1E+2 is `100`, -0 is `0`."""
    if isinstance(value, int):
        if not -_BEYOND < value < _BEYOND:
            raise ValueError("a number needs too many digits")
        return f"{value:d}"
    if not fits_plain(value):
        raise ValueError("a number is not finite or needs too many digits")
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fits_plain(value: Decimal) -> bool:
    """Finite, and written out within MAX_DIGITS on either side of the point."""
    if not value.is_finite():
        return False
    if not value:
        return True
    if value.adjusted() >= MAX_DIGITS or value.adjusted() < -MAX_DIGITS:
        return False
    _, digits, exponent = value.as_tuple()
    if int(exponent) >= -MAX_DIGITS:
        return True
    zeros = next(at for at, digit in enumerate(reversed(digits)) if digit)
    return int(exponent) + zeros >= -MAX_DIGITS


def input_digest(model: str, values: Mapping[str, Json]) -> str:
    """64 hex digits that stand for a model's normalised input."""
    return digest_from_json(model, canonical_json(values))


def digest_from_json(model: str, input_json: str) -> str:
    """`input_digest` of an input whose canonical JSON is at hand."""
    return _sha256(f"[{encode_basestring(model)},{input_json}]")


def body_bytes(model: str, values: Mapping[str, Json]) -> bytes:
    """The request body: the same bytes on every try."""
    return body_from_json(model, canonical_json(values))


def body_from_json(model: str, input_json: str) -> bytes:
    """`body_bytes` of an input whose canonical JSON is at hand."""
    return f'{{"input":{input_json},"model":{encode_basestring(model)}}}'.encode()


def row_key(row_id: str | None, digest: str, occurrence: int) -> str:
    """The row's own id; without one its content and its number among equal rows, from 1.

    Ids may not begin with `~`, so the two kinds never meet. Raises ValueError for such an id or
    an occurrence below 1.
    """
    if row_id is not None:
        if not row_id or row_id.startswith(_ID_MARK):
            raise ValueError(f"{row_id!r} is not an id of a row")
        return row_id
    if occurrence < 1:
        raise ValueError("occurrences count from 1")
    return f"{content_key(digest)}.{occurrence}"


def from_content(key: str) -> bool:
    """Whether a row key was made of the row's content, for want of an id."""
    return key.startswith(_ID_MARK)


def content_key(digest: str) -> str:
    """The part of a row key that equal rows without ids share."""
    return f"{_ID_MARK}{digest[:_DIGEST_CHARS]}"


def idempotency_key(
    *,
    key_version: int,
    namespace: str,
    batch: str,
    label: str,
    row_key: str,
    model: str,
    values: Mapping[str, Json],
    generation: int,
) -> str:
    """The key of one purchase: 64 hex digits, for ever the same."""
    return idempotency_key_from_json(
        key_version=key_version,
        namespace=namespace,
        batch=batch,
        label=label,
        row_key=row_key,
        model=model,
        input_json=canonical_json(values),
        generation=generation,
    )


def idempotency_key_from_json(
    *,
    key_version: int,
    namespace: str,
    batch: str,
    label: str,
    row_key: str,
    model: str,
    input_json: str,
    generation: int,
) -> str:
    """`idempotency_key` of an input whose canonical JSON is at hand."""
    of_batch = _of_batch(key_version, namespace, batch, label)
    of_row = f"{encode_basestring(row_key)},{encode_basestring(model)},{input_json}"
    return _sha256(f"[{of_batch},{of_row},{generation:d}]")


@lru_cache(maxsize=64)
def _of_batch(key_version: int, namespace: str, batch: str, label: str) -> str:
    """What the keys of one batch's rows have in common, without brackets."""
    return canonical_json([key_version, namespace, batch, label])[1:-1]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
