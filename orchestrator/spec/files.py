"""Opening a spec: is it there, a file, readable, text in UTF-8?"""

from __future__ import annotations

import codecs
import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from charset_normalizer import from_bytes

from orchestrator.errors import Problem, SpecError

CHUNK = 1 << 20
MAX_LINE = 64 * 1024 * 1024
_SAMPLE = 64 * 1024
_SAVE_AS_UTF8 = (
    "In Excel, save it with File > Save As > CSV UTF-8 (Comma delimited); "
    "in another editor, save it with the encoding UTF-8."
)
_LIKELY = {
    "cp1252": "Windows-1252",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp932": "Shift JIS",
    "gb18030": "GB 18030",
    "big5": "Big5",
    "cp949": "Korean (CP949)",
}
_UTF16 = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def require_file(path: Path) -> int:
    """The size in bytes of a regular file that is there. Raises SpecError."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from None
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
def opened(path: Path) -> Iterator[TextIO]:
    """The file's text with its own line ends, without a BOM. Raises SpecError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise SpecError(
            f"{path} changed while it was read", mend="Run the command again.", code="changed"
        ) from None
    except OSError as error:
        raise _unopened(path, error) from None


def require_text(path: Path) -> None:
    """Every byte is part of UTF-8 text, none is NUL, no line is endless. Raises SpecError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = lines = open_line = 0
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK)
                _refuse_nul(path, chunk, lines, read)
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    start = error.start - pending
                    line = lines + _line_ends(chunk[: max(start, 0)]) + 1
                    raise _not_utf8(path, line, read + start + 1) from None
                if not chunk:
                    return
                read += len(chunk)
                lines += _line_ends(chunk)
                last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
                open_line = open_line + len(chunk) if last < 0 else len(chunk) - last
                if open_line > MAX_LINE:
                    raise _line_too_long(path, lines + 1)
    except OSError as error:
        raise _unopened(path, error) from None


def _line_ends(chunk: bytes) -> int:
    return chunk.count(b"\n") or chunk.count(b"\r")


def _refuse_nul(path: Path, chunk: bytes, lines: int, read: int) -> None:
    at = chunk.find(b"\0")
    if at < 0:
        return
    line = lines + _line_ends(chunk[:at]) + 1
    if read == 0 and (chunk[:2] in _UTF16 or chunk[:200].count(b"\0") > 20):
        raise _bad_text(path, 1, "is UTF-16, not UTF-8", _SAVE_AS_UTF8)
    raise _bad_text(
        path,
        line,
        f"has a NUL byte in line {line} (byte {read + at + 1:,} of the file)",
        "Remove it, or export the file again.",
    )


def _not_utf8(path: Path, line: int, byte: int) -> SpecError:
    likely = _likely_encoding(path, byte)
    guess = f"; it looks like {likely}" if likely else ""
    return _bad_text(
        path,
        line,
        f"is not UTF-8 from line {line} on (byte {byte:,} of the file){guess}",
        _SAVE_AS_UTF8,
    )


def _likely_encoding(path: Path, byte: int) -> str | None:
    """The encoding that fits the text around the first bad byte best."""
    with path.open("rb") as file:
        file.seek(max(0, byte - _SAMPLE // 2))
        sample = file.read(_SAMPLE)
    if sample[:2] in _UTF16:
        return _UTF16[sample[:2]]
    best = from_bytes(sample, cp_isolation=list(_LIKELY)).best()
    if best is None:
        return None
    # Several may read the bytes alike; then the one that most spreadsheets write.
    encoding = next((name for name in _LIKELY if name in best.could_be_from_charset), best.encoding)
    return _LIKELY.get(encoding, encoding)


def _line_too_long(path: Path, line: int) -> SpecError:
    return _bad_text(
        path,
        line,
        f"has more than {MAX_LINE // 1024**2} MB in line {line}",
        "Check that it is a table of prompts.",
    )


def _bad_text(path: Path, line: int, message: str, mend: str) -> SpecError:
    problem = Problem(str(path), line, 1, None, None, message, mend)
    return SpecError(f"{path} {message}", mend=mend, problems=[problem], code="encoding")


def _unopened(path: Path, error: OSError | ValueError) -> SpecError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SpecError(
            f"there is no file {path}", mend="Check the name and the directory.", code="no_file"
        )
    if isinstance(error, PermissionError):
        return SpecError(
            f"{path} may not be read", mend=f"Give yourself the right: chmod u+r {path}"
        )
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) == errno.ENAMETOOLONG:
        reason = "the name is too long"
    return SpecError(f"{path} cannot be read: {reason}", mend="Check the file and its disk.")
