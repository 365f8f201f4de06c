"""Names of video files: a template filled with a row's values, safe on every file system."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from orchestrator.domain.models.suggestion import suggestion
from orchestrator.errors import UsageError

DEFAULT_TEMPLATE = "{position:05}-{row_key}.mp4"
FIELDS = ("position", "row_key", "name", "label", "ordinal", "generation", "task_id")
"""What every template may name; the spec's own columns come on top."""
MAX_BYTES = 200
"""Of one part of a path, in UTF-8: leaves room for the suffixes of a file that is being written."""
_UNSAFE = frozenset('/\\:*?"<>|')
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
"""Names that mean devices on Windows, whatever their extension."""


class Template:
    """A parsed template, such as `{label}/{position:05}-{row_key}.mp4`; its `/` make folders.

    Raises UsageError for a template that does not parse, names a field that is not among `FIELDS`
    and `columns`, or leads out of its folder.
    """

    def __init__(self, text: str, columns: tuple[str, ...] = ()) -> None:
        known = (*FIELDS, *(name for name in columns if name not in FIELDS))
        self._parts = list(_parsed(text))
        self._counts = False
        for _, name, spec in self._parts:
            if name is None:
                continue
            if name not in known:
                raise _unknown(name, known)
            self._counts |= name == "ordinal"
            _try_spec(name, spec)
        literal = "".join(text for text, _, _ in self._parts)
        if text.startswith("/") or ".." in PurePosixPath(literal).parts or not text.strip():
            raise UsageError(
                f"the name template {text!r} leads out of the download folder",
                mend="Write names below the folder, such as {label}/{row_key}.mp4.",
            )

    def fill(self, values: Mapping[str, object], *, again: int = 0) -> str:
        """The path below the target, with `/` between its parts.

        `values`: of each field that the template names; absent columns are empty. A video after
        the first of its row gets its number where the template has none; `again` > 0 tells apart
        what other rows have taken already.
        """
        filled = "".join(
            text + ("" if name is None else _value(values.get(name, ""), spec))
            for text, name, spec in self._parts
        )
        suffix = ""
        if not self._counts and int(str(values.get("ordinal", 1))) > 1:
            suffix += f"-{values['ordinal']}"
        if again:
            suffix += f"~{again + 1}"
        *folders, last = filled.split("/")
        return "/".join([*(_safe(part) for part in folders if part), _safe(last, suffix)])


def fold(path: str) -> str:
    """Equal for paths that some file system takes for the same."""
    return unicodedata.normalize("NFC", path).casefold()


def _parsed(text: str) -> Iterator[tuple[str, str | None, str]]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _unreadable(text, str(error)) from None
    for literal, name, spec, conversion in parts:
        if conversion or (name is not None and set(name) & set(".[]{}")):
            raise _unreadable(text, f"{{{name}}} is not a plain field")
        yield literal, name, spec or ""


def _unreadable(text: str, reason: str) -> UsageError:
    return UsageError(
        f"the name template {text!r} does not parse: {reason}",
        mend="Write fields in braces, such as {position:05}-{row_key}.mp4; {{ is a brace.",
    )


def _unknown(name: str, known: tuple[str, ...]) -> UsageError:
    meant = suggestion(name, known)
    mend = f"Did you mean {{{meant}}}?" if meant else f"There are {', '.join(known)}."
    return UsageError(f"the name template has an unknown field {{{name}}}", mend=mend)


def _try_spec(name: str, spec: str) -> None:
    try:
        _value(1 if name in {"position", "ordinal", "generation"} else "x", spec)
    except ValueError as error:
        raise UsageError(
            f"the name template's {{{name}:{spec}}} does not fit: {error}",
            mend="Numbers take widths like :05, texts take lengths like :.40.",
        ) from None


def _value(value: object, spec: str) -> str:
    if not isinstance(value, int):
        value = "" if value is None else str(value)
    text = format(value, spec)
    return "".join("_" if c in _UNSAFE or not c.isprintable() else c for c in text)


def _safe(part: str, suffix: str = "") -> str:
    """One part of a path: no dots or spaces at its ends, no device, at most MAX_BYTES long."""
    part = unicodedata.normalize("NFC", part)
    part = "".join("_" if c in _UNSAFE or not c.isprintable() else c for c in part)
    part = part.strip(" ").rstrip(".").rstrip(" ")
    if not part.strip("."):
        part = "_"
    if part.startswith("."):
        part = "_" + part
    stem, dot, extension = part.rpartition(".")
    if not dot or len(extension) > 8:
        stem, dot, extension = part, "", ""
    if stem.split(".")[0].casefold() in _RESERVED:
        stem = f"_{stem}"
    room = MAX_BYTES - len(f"{suffix}{dot}{extension}".encode())
    return f"{_cut(stem, room)}{suffix}{dot}{extension}"


def _cut(text: str, room: int) -> str:
    """The longest beginning of at most `room` bytes that ends with a whole character."""
    return text.encode()[:room].decode("utf-8", "ignore").rstrip(" .") or "_"
