"""Images named by a path: read where the spec is read, and sent as data URIs."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.domain.expiry import signed_until
from orchestrator.domain.models.images import MAX_IMAGE_BYTES
from orchestrator.errors import SpecError
from orchestrator.spec.cells import CellError
from orchestrator.spec.files import require_file

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MAX_PATH = 4096
_REMEMBERED = 4
"""Images kept at hand: neighbouring rows often share one, and each may have 14 MB."""
_KINDS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
)


class LocalImages:
    """The images that one spec names; `folder` is what relative paths begin at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uris: dict[str, str] = {}
        self._said: set[str] = set()
        self._now = time.time_ns() // 1_000_000

    def resolve(self, reference: str) -> tuple[str, str | None]:
        """(what is sent, a note on it or None). Raises CellError for an image that is not there.

        What is sent depends on the image's bytes alone, not on where it lies or how it is named.
        """
        if _SCHEME.match(reference):
            return reference, self._temporary(reference)
        if not reference or len(reference) > _MAX_PATH:
            return reference, None
        uri = self._uris.get(reference)
        if uri is not None:
            return uri, None
        content = self._read(reference)
        uri = f"data:image/{_kind(content)};base64,{base64.b64encode(content).decode()}"
        while len(self._uris) >= _REMEMBERED:
            del self._uris[next(iter(self._uris))]
        self._uris[reference] = uri
        digest = hashlib.sha256(content).hexdigest()
        return uri, self._once(
            f"/{reference}",
            f"{reference} is sent as an image of {len(content):,} bytes, SHA-256 {digest}",
        )

    def _read(self, reference: str) -> bytes:
        path = self._folder / reference
        try:
            size = require_file(path)
            if size > MAX_IMAGE_BYTES:
                raise CellError(
                    f"is an image of more than {MAX_IMAGE_BYTES // 1024**2} MB",
                    "Shrink it, or host it and give its https:// address.",
                )
            with path.open("rb") as file:
                return file.read(MAX_IMAGE_BYTES)
        except SpecError as error:
            mend = "Give a path from the spec's folder, or an https:// address of the image."
            why = error.message.replace(str(path), reference)
            raise CellError(f"names an image that cannot be had: {why}", mend) from None
        except OSError as error:
            mend = "Check the file and its rights."
            raise CellError(f"names an image that cannot be read: {error.strerror}", mend) from None

    def _temporary(self, reference: str) -> str | None:
        if reference[:4].lower() != "http" or "?" not in reference:
            return None
        try:
            until, host = signed_until(reference, self._now), urlsplit(reference).hostname
        except ValueError:
            return None
        if until is None:
            return None
        note = f"{until}: rows that are sent later may find no image"
        return self._once(host or "", note)

    def _once(self, what: str, note: str) -> str | None:
        """One note for each path and each host, however many rows have it."""
        if what in self._said:
            return None
        self._said.add(what)
        return note


def _kind(content: bytes) -> str:
    for beginning, kind in _KINDS:
        if beginning.match(content):
            return kind
    raise CellError(
        "is a file, but no image that can be sent", "Save it as PNG, JPEG, WebP or GIF."
    )
