"""References to images: a hosted http(s) URL, or the image itself as a data URI.

Nothing is fetched or decoded as a picture; only the form is checked.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import urlsplit

from orchestrator.domain.models.values import RefusedError, clean_text

MAX_IMAGE_BYTES = 10 * 1024 * 1024
"""Decoded size of a data URI's image: 10 MB."""

_DATA = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)
_IMAGE_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]*", re.IGNORECASE)
_UNFIT = re.compile(r"[\x00-\x20\x7f]")
_MEND = "Give an https:// address of the image, or a data URI like data:image/png;base64,…"


def image_reference(value: object) -> object:
    """A reference as it is written, or pydantic's refusal of it."""
    clean_text(value)
    if isinstance(value, str):
        if value[:5].lower() == "data:":
            _check_data_uri(value)
        else:
            _check_url(value)
    return value


def _check_url(url: str) -> None:
    if _UNFIT.search(url):
        raise RefusedError("is a URL with a space or control character", "Write a space as %20.")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise RefusedError("is not a valid URL", _MEND) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise RefusedError("is neither an http(s) URL nor a data URI", _MEND)


def _check_data_uri(uri: str) -> None:
    head = _DATA.match(uri)
    if head is None:
        raise RefusedError("is a data URI without a comma before its data", _MEND)
    if not _IMAGE_TYPE.fullmatch(head["type"]):
        raise RefusedError(
            f"is a data URI of type {head['type'][:40] or 'text/plain'}, no image", _MEND
        )
    if not head["parameters"].lower().endswith(";base64"):
        raise RefusedError("is a data URI that is not base64", _MEND)
    if (len(uri) - head.end()) // 4 * 3 > MAX_IMAGE_BYTES + 2:
        raise _too_big()
    try:
        image = binascii.a2b_base64(uri[head.end() :], strict_mode=True)
    except ValueError:
        raise RefusedError(
            "is a data URI whose base64 is broken", "Encode the image again, in one line."
        ) from None
    if not image:
        raise RefusedError("is a data URI without data", _MEND)
    if len(image) > MAX_IMAGE_BYTES:
        raise _too_big()


def _too_big() -> RefusedError:
    return RefusedError(
        f"is an image of more than {MAX_IMAGE_BYTES // 1024**2} MB",
        "Shrink it, or host it and give its https:// address.",
    )
