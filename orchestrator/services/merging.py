"""Putting what journals know of a batch's purchases into the database, group by group.

The merge is monotonic (orchestrator.domain.recovery), so it may be repeated, and it serves
`recover`, a database that went back, and a worker's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.domain.recovery import Told, claimed, merge, without_row
from orchestrator.domain.states import Event, State
from orchestrator.domain.submission import Decision, NeedsPerson, Policy, expire_key, key_trusted
from orchestrator.services.context import Context
from orchestrator.store import lives, restoring
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Stored

GROUP = 500


@dataclass(slots=True)
class Report:
    """What was found of a batch's submissions, and what is left open."""

    batch: Batch
    ended: int = 0
    by_task: int = 0
    by_key: int = 0
    for_person: int = 0
    not_in_spec: int = 0
    known: int = 0
    damage: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {
            "batch": self.batch.title,
            "ended": self.ended,
            "by_task": self.by_task,
            "by_key": self.by_key,
            "for_person": self.for_person,
            "not_in_spec": self.not_in_spec,
            "known": self.known,
            "damage": self.damage,
        }


def grouped(told: Iterable[Told]) -> Iterator[list[Told]]:
    # Generation by generation: the last one speaks for the item.
    ordered = iter(sorted(told, key=lambda one: (one.generation, one.row_key)))
    while group := list(islice(ordered, GROUP)):
        yield group


def merge_group(
    tx: Tx,
    context: Context,
    batch: Batch,
    group: Sequence[Told],
    report: Report,
    *,
    beside_workers: bool = False,
) -> None:
    """Put what the journal knows of these purchases into the database.

    `beside_workers`: a purchase that a living worker is at is left to it and its lease; what would
    be assumed of it, the end of the lease assumes as well.
    """
    found = lives.by_key(tx, [told.idempotency_key for told in group])
    merged: list[tuple[Told, Stored | None, Decision]] = []
    for told in group:
        stored = found.get(told.idempotency_key)
        life = stored.life if stored else None
        decision = merge(life, told, now=tx.now, policy=context.policy)
        if decision is None:
            report.known += stored is not None
        elif not (beside_workers and stored is not None and _worked_on(stored, decision, tx.now)):
            merged.append((told, stored, decision))
    # Only what is put back needs a place: for a row that the spec lost one is made.
    places = restoring.places(tx, batch.id, [told for told, stored, _ in merged if stored is None])
    decided = []
    for told, stored, decision in merged:
        if stored is None:
            place = places[told.idempotency_key]
            report.not_in_spec += not place.in_spec
            again = restoring.put_back(tx, batch.id, place.item_id, told, claimed(told, tx.now))
            known = decision if place.in_spec else without_row(decision)
        else:
            again, known = stored, decision
            if told.account not in ("", stored.account):
                restoring.reattribute(tx, stored.id, told.account)
        known = expired(known, tx.now, context.policy)
        count(report, known.after.state, known.after.needs_person)
        decided.append((again, known))
    lives.record(tx, decided, actor=context.actor)


def expired(decision: Decision, now: int, policy: Policy) -> Decision:
    """A key too old to be sent again is a person's at once."""
    life = decision.after
    if (
        life.state is not State.UNKNOWN
        or life.needs_person
        or key_trusted(life, now=now, policy=policy)
    ):
        return decision
    return decision._replace(after=expire_key(life).after)


def _worked_on(stored: Stored, decision: Decision, now: int) -> bool:
    leased = stored.lease_until is not None and stored.lease_until > now
    return leased and decision.event is Event.LOSE


def count(report: Report, state: State, person: NeedsPerson | None) -> None:
    if person:
        report.for_person += 1
    elif state is State.UNKNOWN:
        report.by_key += 1
    elif state in (State.QUEUED, State.PROCESSING):
        report.by_task += 1
    else:
        report.ended += 1
