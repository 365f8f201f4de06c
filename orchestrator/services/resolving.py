"""Settling what only a person can settle: each verdict is journalled, then recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain import verdict
from orchestrator.domain.batch import Stop
from orchestrator.domain.money import Cost, to_usd
from orchestrator.domain.submission import Decision, NeedsPerson
from orchestrator.errors import UsageError
from orchestrator.journal import JournalWriter, Verdict, VerdictKind
from orchestrator.services import rejoining
from orchestrator.services.context import Context
from orchestrator.services.status import iso
from orchestrator.store import batches, lives, steering
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Stored


@dataclass(frozen=True, slots=True)
class Waiting:
    """A submission that waits for a person, or whose answer nobody has."""

    position: int
    row_key: str
    stored: Stored

    def as_json(self) -> dict[str, object]:
        life = self.stored.life
        return {
            "position": self.position,
            "row_key": self.row_key,
            "generation": self.stored.generation,
            "state": str(life.state),
            "needs_person": life.needs_person,
            "task_id": life.task_id,
            "idempotency_key": self.stored.idempotency_key,
            "held": to_usd(life.hold_nanos),
            "first_sent_at": iso(life.first_sent_at),
            "error_message": life.error_message,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """How many were settled or are asked again, and who still waits for a verdict."""

    asked_again: int
    settled: int
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One verdict for the submissions it is applied to."""

    kind: VerdictKind
    task_id: str | None = None
    cost: Cost | None = None

    def decide(self, stored: Stored, now: int) -> Decision | None:
        life = stored.life
        match self.kind:
            case VerdictKind.ADOPTED:
                return verdict.adopt(life, self.task_id or "", now=now)
            case VerdictKind.NOT_CHARGED:
                return verdict.not_charged(life, now=now)
            case VerdictKind.CHARGED:
                return verdict.charged(life, self.cost, now=now) if self.cost else None
            case VerdictKind.DOUBLE_CHARGE_ACCEPTED:
                return verdict.accept_double_charge(life, now=now)


def waiting(context: Context, batch: Batch, rows: Sequence[str] = ()) -> list[Waiting]:
    """Who waits for a person; with `rows`, also those of these rows that are merely unknown."""
    with context.store.read() as tx:
        return _waiting(tx, batch, rows)


def _waiting(tx: Tx, batch: Batch, rows: Sequence[str]) -> list[Waiting]:
    found = lives.needing_person(tx, batch.id)
    if rows:
        found += lives.unknown_of_batch(tx, batch.id)
    named = lives.row_names(tx, [stored.item_id for stored in found])
    unique = {stored.id: Waiting(*named[stored.item_id], stored) for stored in found}
    chosen = sorted(unique.values(), key=lambda one: (one.position, one.stored.generation))
    return [one for one in chosen if not rows or _named(one, rows)]


def _named(one: Waiting, rows: Sequence[str]) -> bool:
    return one.row_key in rows or str(one.position) in rows


def ask_again(context: Context, batch: Batch, rows: Sequence[str]) -> Report:
    """Have every key within retention sent once more; the others are listed."""
    with context.store.write() as tx:
        found = _waiting(tx, batch, rows)
        decided = [
            (one.stored, decision)
            for one in found
            if (decision := verdict.ask_again(one.stored.life, now=tx.now, policy=context.policy))
        ]
        lives.record(tx, decided, actor=context.actor)
        asked = {stored.id for stored, _ in decided}
        left = tuple(one for one in found if one.stored.id not in asked)
    return Report(len(decided), 0, left)


def settle(
    context: Context,
    journal: JournalWriter,
    batch: Batch,
    sentences: Mapping[str, Sentence],
    everywhere: Sentence | None,
) -> Report:
    """Apply a verdict to each row named (by key or position), or one to all that wait.

    Raises UsageError for a row that does not wait, or whose state the verdict does not fit;
    nothing is changed then.
    """
    rows = tuple(sentences)

    def sentence(one: Waiting) -> Sentence | None:
        return sentences.get(one.row_key) or sentences.get(str(one.position)) or everywhere

    with context.store.write() as tx:
        rejoining.refuse(tx)
        batches.lock(tx, batch.id)
        found = _waiting(tx, batch, rows)
        _refuse_strangers(batch, found, rows)
        judged = [(one, chosen) for one in found if (chosen := sentence(one))]
        decided = [(one.stored, _fitting(one, chosen, tx.now)) for one, chosen in judged]
        # Within the transaction: no worker may take up one of them between word and record.
        journal.append([_record(context, one.stored, chosen, tx.now) for one, chosen in judged])
        lives.record(tx, decided, actor=context.actor)
        for one, chosen in judged:
            if chosen.kind is VerdictKind.DOUBLE_CHARGE_ACCEPTED:
                stored = one.stored
                steering.buy_again(tx, stored.item_id, stored.generation, actor=context.actor)
        left = _waiting(tx, batch, ())
        _restart(tx, batch, left)
    return Report(0, len(decided), tuple(left))


def _fitting(one: Waiting, chosen: Sentence, now: int) -> Decision:
    decision = chosen.decide(one.stored, now)
    if decision is None:
        raise UsageError(
            f"row {one.row_key} is {one.stored.life.state}: this verdict does not fit it",
            mend="`orchestrator resolve BATCH` without a verdict shows what waits.",
            code="verdict_misfit",
        )
    return decision


def _refuse_strangers(batch: Batch, found: Sequence[Waiting], rows: Sequence[str]) -> None:
    for row in rows:
        if not any(_named(one, (row,)) for one in found):
            raise UsageError(
                f"row {row!r} of {batch.title} does not wait for a verdict",
                mend=f"`orchestrator resolve {batch.title}` lists those that do.",
                code="no_such_row",
            )


def _record(context: Context, stored: Stored, sentence: Sentence, now: int) -> Verdict:
    return Verdict(
        idempotency_key=stored.idempotency_key,
        verdict=sentence.kind,
        task_id=sentence.task_id,
        cost=sentence.cost.text if sentence.cost else None,
        actor=context.actor,
        at=now,
    )


def _restart(tx: Tx, batch: Batch, left: Sequence[Waiting]) -> None:
    """The last unreadable cost is settled: the batch may send again."""
    if not any(one.stored.life.needs_person is NeedsPerson.COST_UNREADABLE for one in left):
        batches.clear_stop(tx, batch.id, Stop.COST_UNREADABLE)
