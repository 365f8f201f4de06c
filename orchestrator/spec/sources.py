"""Where a spec's text comes from: a file or standard input, compressed or not, in any encoding.

What is not plain UTF-8 in a file of its own is copied into a private temporary one first, so that
every reader can go over it more than once. The copy goes with the last use of its source.
"""

from __future__ import annotations

import codecs
import gzip
import os
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.errors import Problem, SpecError, UsageError
from orchestrator.spec.files import CHUNK, Source, require_file, unopened

STANDARD_INPUT = Path("-")
MAX_COPY = 2 * 1024 * 1024 * 1024
"""Bytes that may be unpacked or received: a small file must not fill a disk."""

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
# The longer ones first: UTF-32's begins like UTF-16's.
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NOT_TEXT = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7"}
_UTF8 = {"utf-8", "utf-8-sig", "ascii"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a person tells about a file; None and nothing where it is to be found.

    `keep` has folded names of own columns.
    """

    encoding: str | None = None
    delimiter: str | None = None
    keep: frozenset[str] = frozenset()
    skip_invalid: bool = False
    """Rows with problems are carried along instead of refusing the file."""


def check_encoding(name: str) -> str:
    """The name of a text encoding that is known here. Raises UsageError."""
    try:
        found = codecs.lookup(name.strip()).name
        "".encode(found)
    except (LookupError, ValueError):
        found = ""
    if not found or found in _NOT_TEXT or "\0" in name:
        raise UsageError(
            f"{name!r} is not an encoding of text",
            mend="Name it like utf-8, utf-16, cp1252 or shift_jis.",
        )
    return found


def received(path: Path, how: Reading) -> Source:
    """The spec as UTF-8 text that can be read again, or a workbook. Raises SpecError."""
    if path == STANDARD_INPUT:
        source = _standard_input()
    else:
        require_file(path)
        source = Source(str(path), path)
    head = _head(source)
    if head.startswith(_GZIP):
        source = _copy(source.name, _unpacked(source))
        head = _head(source)
    elif path.suffix.lower() == ".gz":
        raise SpecError(
            f"{path} is not compressed with gzip", mend="Take .gz from its name.", code="format"
        )
    if head.startswith(_ZIP):
        return source
    encoding = how.encoding or next((_BOMS[bom] for bom in _BOMS if head.startswith(bom)), None)
    if encoding is None or encoding in _UTF8:
        return source
    return _copy(source.name, _in_utf8(source, encoding))


def ending(path: Path, source: Source) -> str:
    """The ending that names the format: the file's, without .gz; found for standard input."""
    if path != STANDARD_INPUT:
        plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
        return plain.suffix.lower()
    head = _head(source)
    if head.startswith(_ZIP):
        return ".xlsx"
    for line in head.decode("utf-8-sig", "replace").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("{"):
            return ".jsonl"
        key, colon, rest = text.partition(":")
        is_key = key.replace("_", "").isalnum() and colon and not rest[:1].strip()
        return ".yaml" if is_key or text.startswith("---") else ".csv"
    return ".csv"


@lru_cache(maxsize=1)
def _standard_input() -> Source:
    """All of standard input: it comes only once, however often a command reads its spec."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "standard input is a terminal, not a spec",
            mend="Pipe a file into it: … | orchestrator validate -",
        )
    stream = sys.stdin.buffer
    return _copy("-", iter(lambda: stream.read(CHUNK), b""))


def _head(source: Source) -> bytes:
    try:
        with source.path.open("rb") as file:
            return file.read(CHUNK)
    except OSError as error:
        raise unopened(source, error) from None


def _copy(name: str, chunks: Iterable[bytes]) -> Source:
    handle, copy = tempfile.mkstemp(prefix="spec-")
    source = Source(name, Path(copy))
    weakref.finalize(source, Path(copy).unlink, missing_ok=True)
    size = 0
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > MAX_COPY:
                    raise SpecError(
                        f"{name} has more than {MAX_COPY // 1024**3} GB once it is unpacked",
                        mend="Split it.",
                    )
                file.write(chunk)
    except OSError as error:
        raise SpecError(
            f"{name} cannot be copied to {copy}: {error.strerror}",
            mend="Make room there, or set TMPDIR to a disk that has some.",
        ) from None
    return source


def _unpacked(source: Source) -> Iterator[bytes]:
    try:
        with gzip.open(source.path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise SpecError(
            f"{source} is not whole: its gzip data is broken or ends too early",
            mend="Fetch or compress it again.",
            code="format",
        ) from None
    except OSError as error:
        raise unopened(source, error) from None


def _in_utf8(source: Source, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    try:
        with source.path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK)
                text = decoder.decode(chunk, final=not chunk)
                yield text.encode()
                lines += text.count("\n")
                if not chunk:
                    return
    except UnicodeError as error:
        before = b""
        if isinstance(error, UnicodeDecodeError):
            before = error.object[: error.start]
        line = lines + before.decode(encoding, "ignore").count("\n")
        message = f"is not {encoding} in line {line}"
        mend = "Name the encoding it was saved in with --encoding, or save it as UTF-8."
        problem = Problem(str(source), line, 1, None, None, message, mend)
        raise SpecError(
            f"{source} {message}", mend=mend, problems=[problem], code="encoding"
        ) from None
    except OSError as error:
        raise unopened(source, error) from None
