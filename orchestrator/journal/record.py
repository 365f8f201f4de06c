"""What the journal remembers: one frozen dataclass per kind, to and from one line.

Times are milliseconds since the epoch, holds and budgets nano-dollars, costs the provider's own
text. `extra` holds fields of a newer version as compact JSON ("" without any): they are skipped,
and written again when the record is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch exists, under this name; written before the intents of each of its chunks."""

    KIND: ClassVar[str] = "batch"
    namespace: str
    name: str
    label: str
    key_version: int
    budget_nanos: int | None
    at: int
    provider: str | None = None
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "namespace": self.namespace,
            "name": self.name,
            "label": self.label,
            "key_version": self.key_version,
            "budget_nanos": self.budget_nanos,
            "at": self.at,
            **({"provider": self.provider} if self.provider else {}),
        }

    @classmethod
    def parse(cls, given: Fields) -> Batch:
        return cls(
            namespace=given.text("namespace"),
            name=given.text("name"),
            label=given.text("label"),
            key_version=given.number("key_version"),
            budget_nanos=given.number_or_none("budget_nanos"),
            provider=given.text_or_none("provider"),
            at=given.number("at"),
            extra=given.rest(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
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
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "idempotency_key": self.idempotency_key,
            "namespace": self.namespace,
            "batch": self.batch,
            "label": self.label,
            "row_key": self.row_key,
            "generation": self.generation,
            "model": self.model,
            "digest": self.digest,
            "price_class": self.price_class,
            "hold_nanos": self.hold_nanos,
            "key_fingerprint": self.key_fingerprint,
            "try": self.try_,
            "at": self.at,
            **({"claim": self.claim} if self.claim else {}),
        }

    @classmethod
    def parse(cls, given: Fields) -> Intent:
        return cls(
            idempotency_key=given.text("idempotency_key"),
            namespace=given.text("namespace"),
            batch=given.text("batch"),
            label=given.text("label"),
            row_key=given.text("row_key"),
            generation=given.number("generation"),
            model=given.text("model"),
            digest=given.text("digest"),
            price_class=given.text("price_class"),
            hold_nanos=given.number_or_none("hold_nanos"),
            key_fingerprint=given.text("key_fingerprint"),
            try_=given.number("try"),
            claim=given.text_or_none("claim") or "",
            at=given.number("at"),
            extra=given.rest(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a try ended. `try_` is the intent's; None where the writer did not know it.

    `state` is the state the submission took by it; `cost_estimate` the provider's text.
    """

    KIND: ClassVar[str] = "outcome"
    idempotency_key: str
    generation: int
    kind: OutcomeKind
    at: int
    try_: int | None = None
    claim: str = ""
    state: str | None = None
    task_id: str | None = None
    request_id: str | None = None
    cost_estimate: str | None = None
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "idempotency_key": self.idempotency_key,
            "generation": self.generation,
            "try": self.try_,
            "outcome": self.kind.value,
            "state": self.state,
            "task_id": self.task_id,
            "request_id": self.request_id,
            "cost_estimate": self.cost_estimate,
            "at": self.at,
            **({"claim": self.claim} if self.claim else {}),
        }

    @classmethod
    def parse(cls, given: Fields) -> Outcome:
        return cls(
            idempotency_key=given.text("idempotency_key"),
            generation=given.number("generation"),
            try_=given.number_or_none("try"),
            claim=given.text_or_none("claim") or "",
            kind=_outcome_kind(given.text("outcome")),
            state=given.text_or_none("state"),
            task_id=given.text_or_none("task_id"),
            request_id=given.text_or_none("request_id"),
            cost_estimate=given.text_or_none("cost_estimate"),
            at=given.number("at"),
            extra=given.rest(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
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
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "idempotency_key": self.idempotency_key,
            "task_id": self.task_id,
            "state": self.state,
            "cost_actual": self.cost_actual,
            "cost_assumed": self.cost_assumed,
            "videos": list(self.videos),
            "at": self.at,
            **({"error_code": self.error_code} if self.error_code else {}),
            **({"error_message": self.error_message} if self.error_message else {}),
        }

    @classmethod
    def parse(cls, given: Fields) -> Terminal:
        return cls(
            idempotency_key=given.text("idempotency_key"),
            task_id=given.text("task_id"),
            state=given.text("state"),
            cost_actual=given.text_or_none("cost_actual"),
            cost_assumed=given.text_or_none("cost_assumed"),
            videos=given.texts("videos"),
            at=given.number("at"),
            error_code=given.text_or_none("error_code"),
            error_message=given.text_or_none("error_message"),
            extra=given.rest(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What a person wants of a batch from now on: `wanted` (open, paused, cancelled) and budget."""

    KIND: ClassVar[str] = "control"
    namespace: str
    name: str
    label: str
    wanted: str
    budget_nanos: int | None
    actor: str
    at: int
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "namespace": self.namespace,
            "name": self.name,
            "label": self.label,
            "wanted": self.wanted,
            "budget_nanos": self.budget_nanos,
            "actor": self.actor,
            "at": self.at,
        }

    @classmethod
    def parse(cls, given: Fields) -> Control:
        return cls(
            namespace=given.text("namespace"),
            name=given.text("name"),
            label=given.text("label"),
            wanted=given.text("wanted"),
            budget_nanos=given.number_or_none("budget_nanos"),
            actor=given.text("actor"),
            at=given.number("at"),
            extra=given.rest(),
        )


class VerdictKind(StrEnum):
    """What a person decided of a submission that nobody else could settle."""

    ADOPTED = "adopted"
    NOT_CHARGED = "not_charged"
    CHARGED = "charged"
    DOUBLE_CHARGE_ACCEPTED = "double_charge_accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A person's word on one submission; `task_id` where adopted, `cost` where charged."""

    KIND: ClassVar[str] = "verdict"
    idempotency_key: str
    verdict: VerdictKind
    task_id: str | None
    cost: str | None
    actor: str
    at: int
    extra: str = ""

    def fields(self) -> dict[str, object]:
        return {
            "idempotency_key": self.idempotency_key,
            "verdict": self.verdict.value,
            "task_id": self.task_id,
            "cost": self.cost,
            "actor": self.actor,
            "at": self.at,
        }

    @classmethod
    def parse(cls, given: Fields) -> Verdict:
        text = given.text("verdict")
        if text not in set(VerdictKind):
            raise RecordError(f"verdict {text!r} is not one this program knows")
        return cls(
            idempotency_key=given.text("idempotency_key"),
            verdict=VerdictKind(text),
            task_id=given.text_or_none("task_id"),
            cost=given.text_or_none("cost"),
            actor=given.text("actor"),
            at=given.number("at"),
            extra=given.rest(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A kind of a newer version, all its fields in `extra`."""

    kind: str
    extra: str

    def fields(self) -> dict[str, object]:
        return {}


Record = Batch | Intent | Outcome | Terminal | Control | Verdict | Unknown
_Known = type[Batch] | type[Intent] | type[Outcome] | type[Terminal] | type[Control] | type[Verdict]
_KINDS: dict[str, _Known] = {
    kind.KIND: kind for kind in (Batch, Intent, Outcome, Terminal, Control, Verdict)
}


def to_line(record: Record) -> bytes:
    """`<crc32 of the JSON, 8 hex digits> <compact JSON>` and a newline.

    Raises RecordError for a record whose line would be longer than MAX_LINE.
    """
    kind = record.kind if isinstance(record, Unknown) else record.KIND
    head: dict[str, object] = {"v": VERSION, "kind": kind}
    known = head | record.fields()
    extra = parse(record.extra) if record.extra else {}
    newer = {name: value for name, value in extra.items() if name not in known}
    payload = compact(known | newer).encode("ascii")
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


def _outcome_kind(text: str) -> OutcomeKind:
    try:
        return OutcomeKind(text)
    except ValueError:
        raise RecordError(f"outcome {text!r} is not one this program knows") from None
