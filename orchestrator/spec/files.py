"""Opening a spec: is it there, a file, readable, text in UTF-8?"""

from __future__ import annotations

import codecs
import errno
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from orchestrator.errors import Problem, SpecError

CHUNK = 1 << 20
MAX_LINE = 64 * 1024 * 1024
_SAMPLE = 64 * 1024
_SAVE_AS_UTF8 = (
    "In Excel, save it with File > Save As > CSV UTF-8 (Comma delimited); "
    "in another editor, save it with the encoding UTF-8."
)
_TELL = "Or tell its encoding, such as --encoding {}."
_LIKELY = {
    "cp1252": "Windows-1252",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp932": "Shift JIS",
    "gb18030": "GB 18030",
    "big5": "Big5",
    "cp949": "Korean (CP949)",
}
_WESTERN = "cp1252"
_TELLING = 200
"""Bytes of words that are not ASCII from which a guess is trusted."""
_SPLIT = re.compile(rb"[\s,;\"'|]")
_UTF16 = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


@dataclass(frozen=True)
class Source:
    """A spec's text: `name` is how people know it, `path` where it can be read."""

    name: str
    path: Path

    def __str__(self) -> str:
        return self.name


def require_file(path: Path) -> int:
    """The size in bytes of a regular file that is there. Raises SpecError."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise unopened(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise SpecError(f"{path} is a directory", mend="Name a file in it.", code="not_a_file")
    if not stat.S_ISREG(found.st_mode):
        raise SpecError(
            f"{path} is not an ordinary file",
            mend="Save what it delivers as a file, and name that.",
            code="not_a_file",
        )
    return found.st_size


@contextmanager
def opened(source: Source) -> Iterator[TextIO]:
    """The file's text with its own line ends, without a BOM. Raises SpecError."""
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise SpecError(
            f"{source} changed while it was read", mend="Run the command again.", code="changed"
        ) from None
    except OSError as error:
        raise unopened(source, error) from None


def require_text(source: Source) -> None:
    """Every byte is part of UTF-8 text, none is NUL, no line is endless. Raises SpecError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = lines = open_line = 0
    try:
        with source.path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK)
                _refuse_nul(source, chunk, lines, read)
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    start = error.start - pending
                    line = lines + _line_ends(chunk[: max(start, 0)]) + 1
                    raise _not_utf8(source, line, read + start + 1) from None
                if not chunk:
                    return
                read += len(chunk)
                lines += _line_ends(chunk)
                last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
                open_line = open_line + len(chunk) if last < 0 else len(chunk) - last
                if open_line > MAX_LINE:
                    raise _line_too_long(source, lines + 1)
    except OSError as error:
        raise unopened(source, error) from None


def _line_ends(chunk: bytes) -> int:
    return chunk.count(b"\n") or chunk.count(b"\r")


def _refuse_nul(source: Source, chunk: bytes, lines: int, read: int) -> None:
    at = chunk.find(b"\0")
    if at < 0:
        return
    line = lines + _line_ends(chunk[:at]) + 1
    if read == 0 and (chunk[:2] in _UTF16 or chunk[:200].count(b"\0") > 20):
        mend = f"{_SAVE_AS_UTF8} {_TELL.format('utf-16-le')}"
        raise _bad_text(source, 1, "is UTF-16, not UTF-8", mend)
    raise _bad_text(
        source,
        line,
        f"has a NUL byte in line {line} (byte {read + at + 1:,} of the file)",
        "Remove it, or export the file again.",
    )


def _not_utf8(source: Source, line: int, byte: int) -> SpecError:
    with source.path.open("rb") as file:
        file.seek(max(0, byte - _SAMPLE // 2))
        sample = file.read(_SAMPLE)
    likely = _likely_encoding(sample)
    readings = _readings(sample, likely)
    guess, tell = "", _TELL.format(likely or _WESTERN)
    if len(readings) > 1:
        ways = ", ".join(f"--encoding {name} for {text!r}" for name, text in readings.items())
        tell = f"Or tell its encoding by what is meant: {ways}."
    elif likely:
        guess = f"; it looks like {_LIKELY.get(likely, likely)}"
    return _bad_text(
        source,
        line,
        f"is not UTF-8 from line {line} on (byte {byte:,} of the file){guess}",
        f"{_SAVE_AS_UTF8} {tell}",
    )


def _likely_encoding(sample: bytes) -> str | None:
    """The encoding that fits the text around the first bad byte best."""
    from charset_normalizer import from_bytes  # of which files in UTF-8 have no need

    best = from_bytes(sample, cp_isolation=list(_LIKELY)).best()
    if best is None:
        return None
    # Several may read the bytes alike; then the one that most spreadsheets write.
    return next((name for name in _LIKELY if name in best.could_be_from_charset), best.encoding)


def _readings(sample: bytes, likely: str | None) -> dict[str, str]:
    """Encoding -> how it reads a word: too few letters do not tell which is meant.

    The likely one, and those of Europe's spreadsheets that make a letter of each byte.
    """
    words = [word for word in _SPLIT.split(sample) if not word.isascii()]
    if likely == _WESTERN or sum(map(len, words)) > _TELLING:
        return {}
    read: dict[str, list[str]] = {}
    for name in dict.fromkeys((_WESTERN, "cp1250", likely or _WESTERN)):
        texts = [word.decode(name, "replace") for word in words]
        if name == likely or all(c.isascii() or c.isalpha() for c in "".join(texts)):
            read[name] = texts
    for one in zip(*read.values(), strict=True):
        if len(set(one)) > 1:
            return dict(zip(read, one, strict=True))
    return {}


def _line_too_long(source: Source, line: int) -> SpecError:
    return _bad_text(
        source,
        line,
        f"has more than {MAX_LINE // 1024**2} MB in line {line}",
        "Check that it is a table of prompts.",
    )


def _bad_text(source: Source, line: int, message: str, mend: str) -> SpecError:
    problem = Problem(str(source), line, 1, None, None, message, mend)
    return SpecError(f"{source} {message}", mend=mend, problems=[problem], code="encoding")


def unopened(source: Source | Path, error: OSError | ValueError) -> SpecError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SpecError(
            f"there is no file {source}", mend="Check the name and the directory.", code="no_file"
        )
    if isinstance(error, PermissionError):
        return SpecError(
            f"{source} may not be read", mend=f"Give yourself the right: chmod u+r {source}"
        )
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) == errno.ENAMETOOLONG:
        reason = "the name is too long"
    return SpecError(f"{source} cannot be read: {reason}", mend="Check the file and its disk.")
