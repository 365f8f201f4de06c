"""What a submit would do, without doing any of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain.money import to_usd, to_usd_or_none
from orchestrator.domain.states import State
from orchestrator.errors import Problem
from orchestrator.services.context import Context
from orchestrator.services.intake import default_options, grouped, too_many_problems
from orchestrator.services.pricing import Estimate, estimate
from orchestrator.spec import AS_FOUND, BadRow, Note, Reading, SpecRow, open_spec
from orchestrator.store import batches, counting, intake, prices
from orchestrator.store.batches import Batch

_AWAY = (None, State.WITHDRAWN, State.INVALID)


@dataclass(frozen=True, slots=True)
class Plan:
    """Money in nano-dollars. `classes`: price class -> (rows to send, price of one or None)."""

    title: str
    rows: int
    new: int
    known: int
    changed: int
    removed: int
    duplicates: int
    invalid: int
    cost: Estimate
    budget_left: int | None
    classes: dict[str, tuple[int, int | None]]
    notes: tuple[Note, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "batch": self.title,
            "rows": self.rows,
            "new": self.new,
            "known": self.known,
            "changed": self.changed,
            "removed": self.removed,
            "duplicates": self.duplicates,
            "invalid": self.invalid,
            "cost": {
                "low": to_usd(self.cost.low),
                "high": to_usd_or_none(self.cost.high),
                "known": self.cost.known,
            },
            "budget_left": to_usd_or_none(self.budget_left),
            "notes": [str(note) for note in self.notes],
        }


@dataclass
class _Tally:
    """What is counted while the file streams by."""

    rows: int = 0
    new: int = 0
    known: int = 0
    changed: int = 0
    matched: int = 0
    duplicates: int = 0
    skipped: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    digests: set[bytes] = field(default_factory=set)


def plan(
    context: Context | None,
    path: Path,
    *,
    name: str | None,
    label: str | None,
    budget_nanos: int | None,
    how: Reading = AS_FOUND,
) -> Plan:
    """Compare a spec with its batch; `context` None where nothing was ever submitted.

    Raises SpecError with every problem of the file.
    """
    spec = open_spec(path, how)
    chosen_name, chosen_label = default_options(path, spec, name, label)
    batch, book, known_rows = _known(context, chosen_name, chosen_label)
    tally = _Tally()
    for group in grouped(spec.rows()):
        _count(context, batch, tally, group)
    if tally.problems:
        raise too_many_problems(path, tally.problems)
    budget = budget_nanos
    if budget is None:
        budget = batch.budget_nanos if batch else spec.header.budget_nanos
    spent = batch.held_nanos + batch.actual_nanos + batch.assumed_nanos if batch else 0
    return Plan(
        title=f"{chosen_name}@{chosen_label}",
        rows=tally.rows + tally.skipped,
        new=tally.new,
        known=tally.known,
        changed=tally.changed,
        removed=max(0, known_rows - tally.matched),
        duplicates=tally.duplicates,
        invalid=tally.skipped,
        cost=estimate(tally.classes, book),
        budget_left=None if budget is None else budget - spent,
        classes={name: (number, book.get(name)) for name, number in tally.classes.items()},
        notes=tuple(tally.notes),
    )


def _known(
    context: Context | None, name: str, label: str
) -> tuple[Batch | None, dict[str, int], int]:
    """The batch if it is there, the price book, and the batch's rows that were not taken back."""
    if context is None:
        return None, {}, 0
    with context.store.read() as tx:
        batch = batches.find(tx, name, label)
        if batch is not None and batch.published_at is None:
            batch = None
        rows = 0
        if batch is not None:
            counts = counting.by_state(tx, batch.id)
            rows = sum(counts.values()) - counts[State.WITHDRAWN] - counts[State.INVALID]
        return batch, prices.known(tx, context.provider), rows


def _count(
    context: Context | None,
    batch: Batch | None,
    tally: _Tally,
    group: list[SpecRow | BadRow | Problem | Note],
) -> None:
    rows = [entry for entry in group if isinstance(entry, SpecRow)]
    tally.problems += [entry for entry in group if isinstance(entry, Problem)]
    tally.notes += [entry for entry in group if isinstance(entry, Note)]
    tally.rows += len(rows)
    tally.skipped += sum(isinstance(entry, BadRow) for entry in group)
    found: dict[tuple[str, str], State] = {}
    if context is not None and batch is not None:
        with context.store.read() as tx:
            found = intake.known(tx, batch.id, [row.row_key for row in rows])
    versions = _live_versions(found)
    for row in rows:
        digest = bytes.fromhex(row.digest)
        tally.duplicates += digest in tally.digests
        tally.digests.add(digest)
        state = found.get((row.row_key, row.digest))
        tally.matched += row.row_key in versions
        if state not in _AWAY:
            tally.known += 1
            continue
        earlier = versions.get(row.row_key)
        if earlier is None:
            tally.new += 1
        else:
            tally.changed += 1
        if earlier in (None, State.PENDING):
            tally.classes[row.price_class] += 1


def _live_versions(found: dict[tuple[str, str], State]) -> dict[str, State]:
    """Row key -> state of a version that was not taken back; a sent one before a pending one."""
    versions: dict[str, State] = {}
    for (row_key, _digest), state in found.items():
        if state in _AWAY:
            continue
        if versions.get(row_key) in (None, State.PENDING):
            versions[row_key] = state
    return versions
