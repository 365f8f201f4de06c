"""Log records on standard error: as text or JSON, bound to their work, without secrets.

Whoever logs uses the standard library and gives what a record is about as `extra=about(...)`;
`bound` gives it to every record of a block, those of libraries too. What must never be written down
is taken out in one place, of the finished line: of messages, fields and exceptions alike.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Protocol, TextIO
from urllib.parse import quote, unquote

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
HIDDEN = "***"
_SHORTEST = 4
"""Less than this is found anywhere, and hides nothing."""
_LOOKS_SECRET = re.compile(
    r"(?P<url>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?=@)|(?P<bearer>\bBearer )[\w.~+/=-]{4,}",
    re.IGNORECASE,
)
_CHATTY = {
    "celery.worker.strategy": logging.WARNING,
    "celery.worker.request": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "celery.beat": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
}
"""Loggers with a line for each tick, poll or request."""
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))


def about(**fields: object) -> dict[str, object]:
    """What a record is about, for `extra`."""
    return {"about": fields}


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Give these fields to every record of the block, and of the tasks that it starts."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class Redactor:
    """Takes known secrets out of text, however they are spelled there, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {
            way
            for secret in secrets
            if len(secret) >= _SHORTEST
            for way in (secret, unquote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1])
        }
        ordered = sorted(spelled, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _LOOKS_SECRET.sub(_hide, text)


def _hide(found: re.Match[str]) -> str:
    return (found["url"] or found["bearer"]) + HIDDEN


class _Formatter(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {**_bound.get(), **getattr(record, "about", {})}
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return self._redact(self._line(at.replace("+00:00", "Z"), record, fields, trace))

    def _line(
        self, at: str, record: logging.LogRecord, fields: Mapping[str, object], trace: str
    ) -> str:
        raise NotImplementedError


class TextFormatter(_Formatter):
    """`time LEVEL logger message | field=value …`, then an exception on lines of its own."""

    def _line(
        self, at: str, record: logging.LogRecord, fields: Mapping[str, object], trace: str
    ) -> str:
        message = " ".join(record.getMessage().splitlines())
        told = " ".join(f"{name}={_word(value)}" for name, value in fields.items())
        line = f"{at} {record.levelname} {record.name} {message}"
        return "\n".join(part for part in (f"{line} | {told}" if told else line, trace) if part)


class JsonFormatter(_Formatter):
    """One JSON object a line, its exception in it."""

    def _line(
        self, at: str, record: logging.LogRecord, fields: Mapping[str, object], trace: str
    ) -> str:
        values: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        values |= {name: value for name, value in fields.items() if name not in values}
        if trace:
            values["exception"] = trace
        return json.dumps(values, ensure_ascii=False, default=str)


def _word(value: object) -> str:
    text = str(value)
    return text if text and not re.search(r"[\s|=\"]", text) else json.dumps(text)


class Wishes(Protocol):
    """The settings, as far as they are about records."""

    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> str: ...
    def secrets(self) -> Iterable[str]: ...


def start(settings: Wishes) -> None:
    """Have this process's records written as the settings say, without any of their secrets."""
    configure(settings.log_level, settings.log_format, settings.secrets())


def configure(level: str, form: str, secrets: Iterable[str], stream: TextIO | None = None) -> None:
    """Have every record of this process, and what ends it, written as told; once more is harmless.

    `level` is one of LEVELS, `form` one of FORMATS.
    """
    formatter = JsonFormatter if form == "json" else TextFormatter
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(Redactor(secrets)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, least in _CHATTY.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else least)
    logging.captureWarnings(capture=True)
    sys.excepthook = _ended
    threading.excepthook = _thread_ended


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("ended by an error", exc_info=(kind, error, trace))


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None:
        _ended(given.exc_type, given.exc_value, given.exc_traceback)
