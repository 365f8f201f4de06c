"""What the journal remembers: one frozen dataclass per kind, to and from one line.

Times are milliseconds since the epoch, holds and budgets nano-dollars, costs the provider's own
text. `extra` holds fields of a newer version as compact JSON ("" without any): they are skipped,
and written again when the record is.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self

from orchestrator.journal.fields import Fields, RecordError, compact, parse

VERSION = 1
MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line with its newline; more than the longest answer of the provider can fill."""
_DIGITS = 8


class OutcomeKind(StrEnum):
    """How one try ended, in the words of orchestrator.domain.outcome."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOTHING_CHARGED = "nothing_charged"
    AMBIGUOUS = "ambiguous"
    GATED = "gated"
    NOT_SENT = "not_sent"


class VerdictKind(StrEnum):
    """What a person decided of a submission that nobody else could settle."""

    ADOPTED = "adopted"
    NOT_CHARGED = "not_charged"
    CHARGED = "charged"
    DOUBLE_CHARGE_ACCEPTED = "double_charge_accepted"


_WIRE = {"try_": "try", "kind": "outcome"}
"""Fields that are called otherwise in a line."""
_GETTERS: dict[str, Callable[[Fields, str], object]] = {
    "str": Fields.text,
    "str | None": Fields.text_or_none,
    "int": Fields.number,
    "int | None": Fields.number_or_none,
    "tuple[str, ...]": Fields.texts,
    "OutcomeKind": lambda given, name: _one_of(OutcomeKind, given, name),
    "VerdictKind": lambda given, name: _one_of(VerdictKind, given, name),
}
"""By a field's type as it is written below."""


def _one_of(kinds: type[StrEnum], given: Fields, name: str) -> StrEnum:
    text = given.text(name)
    try:
        return kinds(text)
    except ValueError:
        raise RecordError(f"{name} {text!r} is not one this program knows") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A kind whose fields are written and read by their types; an absent one is its default."""

    KIND: ClassVar[str]
    extra: str = ""

    def fields(self) -> dict[str, object]:
        get, wires, defaults = _writing(self.KIND)
        known = dict(zip(wires, get(self), strict=True))
        for wire, default in defaults:
            if known[wire] == default:
                del known[wire]
        return known

    @classmethod
    def parse(cls, given: Fields) -> Self:
        values: dict[str, Any] = {}
        for name, wire, getter, default in _layout(cls.KIND):
            if default is MISSING or not given.absent(wire):
                values[name] = getter(given, wire)
        return cls(**values, extra=given.rest())


@cache
def _layout(kind: str) -> tuple[tuple[str, str, Callable[[Fields, str], object], object], ...]:
    """(attribute, name in the line, getter, default or MISSING) of each field."""
    return tuple(
        (one.name, _WIRE.get(one.name, one.name), _GETTERS[str(one.type)], one.default)
        for one in dataclasses.fields(_KINDS[kind])
        if one.name != "extra"
    )


@cache
def _writing(
    kind: str,
) -> tuple[attrgetter[tuple[object, ...]], tuple[str, ...], tuple[tuple[str, object], ...]]:
    """All values of a record, their names in the line, and which of those are left out at what."""
    layout = _layout(kind)
    defaults = ((wire, default) for _, wire, _, default in layout if default is not MISSING)
    names, wires, *_ = zip(*layout, strict=True)
    return attrgetter(*names), wires, tuple(defaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(_Known):
    """A batch exists, under this name; written before the intents of each of its chunks."""

    KIND: ClassVar[str] = "batch"
    namespace: str
    name: str
    label: str
    key_version: int
    budget_nanos: int | None
    at: int
    provider: str | None = None
    account: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(_Known):
    """This is about to be sent: try `try_` (from 1) of a submission, under its key.

    `batch` is the batch's name, `digest` the body's SHA-256, `hold_nanos` None where no price is
    known, `key_fingerprint` the account. `claim` is the lease's token: with the key it names the
    one attempt that an outcome speaks for.
    """

    KIND: ClassVar[str] = "intent"
    idempotency_key: str
    namespace: str
    batch: str
    label: str
    row_key: str
    generation: int
    model: str
    digest: str
    price_class: str
    hold_nanos: int | None
    key_fingerprint: str
    try_: int
    at: int
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(_Known):
    """How a try ended. `try_` is the intent's; None where the writer did not know it.

    `state` is the state the submission took by it; `cost_estimate` the provider's text.
    """

    KIND: ClassVar[str] = "outcome"
    idempotency_key: str
    generation: int
    try_: int | None = None
    kind: OutcomeKind
    state: str | None = None
    task_id: str | None = None
    request_id: str | None = None
    cost_estimate: str | None = None
    at: int
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal(_Known):
    """A task reached its end. Of the two costs at most one is given; the error where it failed."""

    KIND: ClassVar[str] = "terminal"
    idempotency_key: str
    task_id: str
    state: str
    cost_actual: str | None
    cost_assumed: str | None
    videos: tuple[str, ...]
    at: int
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(_Known):
    """What a person wants of a batch from now on: `wanted` (open, paused, cancelled) and budget."""

    KIND: ClassVar[str] = "control"
    namespace: str
    name: str
    label: str
    wanted: str
    budget_nanos: int | None
    actor: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(_Known):
    """A person's word on one submission; `task_id` where adopted, `cost` where charged."""

    KIND: ClassVar[str] = "verdict"
    idempotency_key: str
    verdict: VerdictKind
    task_id: str | None
    cost: str | None
    actor: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused(_Known):
    """A row takes an earlier result instead of buying it: nothing is sent under its key.

    `source` names that result's batch and row for people, `task_id` and `videos` are its own.
    """

    KIND: ClassVar[str] = "reused"
    idempotency_key: str
    namespace: str
    batch: str
    label: str
    row_key: str
    generation: int
    model: str
    digest: str
    price_class: str
    key_fingerprint: str
    task_id: str
    videos: tuple[str, ...]
    source: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A kind of a newer version, all its fields in `extra`."""

    kind: str
    extra: str

    def fields(self) -> dict[str, object]:
        return {}


Record = Batch | Intent | Outcome | Terminal | Control | Verdict | Reused | Unknown
_KINDS: dict[str, type[Batch | Intent | Outcome | Terminal | Control | Verdict | Reused]] = {
    kind.KIND: kind for kind in (Batch, Intent, Outcome, Terminal, Control, Verdict, Reused)
}


def to_line(record: Record) -> bytes:
    """`<crc32 of the JSON, 8 hex digits> <compact JSON>` and a newline.

    Raises RecordError for a record whose line would be longer than MAX_LINE.
    """
    kind = record.kind if isinstance(record, Unknown) else record.KIND
    known: dict[str, object] = {"v": VERSION, "kind": kind, **record.fields()}
    for name, value in parse(record.extra).items() if record.extra else ():
        known.setdefault(name, value)
    payload = compact(known).encode("ascii")
    line = b"%08x %b\n" % (zlib.crc32(payload), payload)
    if len(line) > MAX_LINE:
        raise RecordError(f"a {kind} record of {len(line)} bytes is too long")
    return line


def from_line(line: bytes) -> Record:
    """The record in a line, with or without its newline. Raises RecordError."""
    checksum, space, payload = line.removesuffix(b"\n").partition(b" ")
    if not space or len(checksum) != _DIGITS:
        raise RecordError("no checksum")
    if checksum != b"%08x" % zlib.crc32(payload):
        raise RecordError("the checksum does not fit")
    given = Fields(parse(payload.decode("utf-8", "replace")))
    version, kind = given.number("v"), given.text("kind")
    if version != VERSION:
        raise RecordError(f"format version {version} is not one this program reads")
    known = _KINDS.get(kind)
    return Unknown(kind=kind, extra=given.rest()) if known is None else known.parse(given)
