"""What a submit would do, without doing any of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain import forecast
from orchestrator.domain.account import DEFAULT
from orchestrator.domain.budget import Verdict, judge
from orchestrator.domain.canary import Pace
from orchestrator.domain.forecast import Expectation
from orchestrator.domain.money import to_usd, to_usd_or_none
from orchestrator.domain.states import State
from orchestrator.errors import Problem, too_many_problems
from orchestrator.services.admission import looks_foreign
from orchestrator.services.context import Context
from orchestrator.services.intake import default_options
from orchestrator.services.price_files import PriceFile, price_file
from orchestrator.services.pricing import Estimate, amounts, disagreements, estimate, origin
from orchestrator.services.reusing import Choice
from orchestrator.services.staging import grouped
from orchestrator.services.status import iso
from orchestrator.spec import AS_FOUND, BadRow, Note, Reading, SpecRow, open_spec
from orchestrator.store import batches, counting, intake, views
from orchestrator.store import prices as store_prices
from orchestrator.store.batches import Batch
from orchestrator.store.prices import Price

RECENT = 5
"""Batches whose run times a plan's duration is judged by."""

_AWAY = (None, State.WITHDRAWN, State.INVALID)


@dataclass(frozen=True, slots=True)
class Plan:
    """Money in nano-dollars. `classes`: price class -> (rows to send, price of one or None).

    `states`: what became of the known rows. `verdict`: whether the budget covers what is new and
    what waits to be sent already. `duration`: how long the new rows would take.
    """

    title: str
    rows: int
    new: int
    known: int
    changed: int
    removed: int
    duplicates: int
    reused: int
    invalid: int
    skipped: tuple[Problem, ...]
    """What is wrong with the invalid rows, where such rows are skipped."""
    cost: Estimate
    budget_left: int | None
    classes: dict[str, tuple[int, Price | None]]
    notes: tuple[Note, ...]
    states: dict[State, int]
    verdict: Verdict
    duration: Expectation | None
    remarks: tuple[str, ...]
    table: Path | None = None
    """The file beside the spec that its rows come from."""

    def as_json(self) -> dict[str, object]:
        return {
            "batch": self.title,
            "rows": self.rows,
            "new": self.new,
            "known": self.known,
            "changed": self.changed,
            "removed": self.removed,
            "duplicates": self.duplicates,
            "reused": self.reused,
            "invalid": self.invalid,
            "cost": {
                "low": to_usd(self.cost.low),
                "high": to_usd_or_none(self.cost.high),
                "known": self.cost.known,
            },
            "budget_left": to_usd_or_none(self.budget_left),
            "budget": {"verdict": self.verdict.kind, "text": self.verdict.text},
            "known_states": {str(state): number for state, number in self.states.items()},
            "price_classes": [
                _class_json(name, number, price)
                for name, (number, price) in sorted(self.classes.items())
            ],
            "duration": None if self.duration is None else _duration_json(self.duration),
            "notes": [*(str(note) for note in self.notes), *self.remarks],
            "problems": [problem.as_json() for problem in self.skipped],
        }


def _class_json(name: str, rows: int, price: Price | None) -> dict[str, object]:
    return {
        "price_class": name,
        "rows": rows,
        "price": None if price is None else to_usd(price.nanos),
        "cost": None if price is None else to_usd(rows * price.nanos),
        "origin": origin(price),
        "at": None if price is None else iso(price.at),
    }


def _duration_json(duration: Expectation) -> dict[str, object]:
    """Seconds from the first sending to the last end."""
    return {
        "low": round(duration.low / 1000),
        "high": round(duration.high / 1000),
        "sample": duration.sample,
    }


@dataclass
class _Tally:
    """What is counted while the file streams by."""

    rows: int = 0
    new: int = 0
    known: int = 0
    changed: int = 0
    matched: int = 0
    matched_pending: int = 0
    resent: Counter[str] = field(default_factory=Counter)
    """Price class -> changed rows of which an earlier version was sent."""
    duplicates: int = 0
    reused: int = 0
    invalid: int = 0
    skipped: list[Problem] = field(default_factory=list)
    classes: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    """Price class -> known rows that are still to be sent."""
    states: Counter[State] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    digests: set[int] = field(default_factory=set)
    """The first 64 bits of each, which is enough to count equal ones, and half the memory."""
    reusing: Choice = field(default_factory=Choice)


@dataclass(frozen=True, slots=True)
class _Gone:
    """Rows of the batch that the file does not have; `pending`: those that wait to be sent."""

    removed: int
    pending: int


def plan(
    context: Context | None,
    path: Path,
    *,
    name: str | None,
    label: str | None,
    budget_nanos: int | None,
    how: Reading = AS_FOUND,
    prices: Path | None = None,
    reuse: bool = False,
    now: int = 0,
) -> Plan:
    """Compare a spec with its batch; `context` None where nothing was ever submitted.

    `now` is only looked at where there is no database to ask for the time.

    Raises SpecError with every problem of the file, or of the price file.
    """
    listed = price_file(context, prices)
    spec = open_spec(path, how)
    chosen_name, chosen_label = default_options(path, spec, name, label)
    batch, book, before = _known(context, chosen_name, chosen_label, listed, now)
    tally = _Tally()
    for group in grouped(spec.rows()):
        _count(context, batch, tally, group, reuse=reuse or spec.header.reuse)
    if tally.problems:
        raise too_many_problems(path, tally.problems)
    budget = budget_nanos
    if budget is None:
        budget = batch.budget_nanos if batch else spec.header.budget_nanos
    left = None if budget is None else budget - (batch.committed_nanos if batch else 0)
    rows = sum(tally.classes.values())
    gone = _Gone(
        max(0, before.removed - tally.matched), max(0, before.pending - tally.matched_pending)
    )
    sender = (batch.account if batch else spec.header.account) or DEFAULT
    return Plan(
        title=f"{chosen_name}@{chosen_label}",
        rows=tally.rows + tally.invalid,
        new=tally.new,
        known=tally.known,
        changed=tally.changed,
        removed=gone.removed,
        duplicates=tally.duplicates,
        reused=tally.reused,
        invalid=tally.invalid,
        skipped=tuple(tally.skipped),
        cost=estimate(tally.classes, amounts(book)),
        budget_left=left,
        classes={name: (number, book.get(name)) for name, number in tally.classes.items()},
        notes=tuple(tally.notes),
        states=dict(sorted(tally.states.items(), key=lambda pair: list(State).index(pair[0]))),
        verdict=judge(left, tally.classes + tally.waiting, amounts(book)),
        duration=None if context is None else _expect(context, batch, rows, sender),
        remarks=tuple(_remarks(tally, book, gone, _sendable(batch, spec.header.pace))),
        table=None if spec.header.table is None else path.parent / spec.header.table,
    )


def _sendable(batch: Batch | None, pace: Pace) -> int | None:
    """How many rows the limit still lets go; None without one."""
    return (pace.limit or None) if batch is None else batch.rows_left


def _remarks(
    tally: _Tally, book: dict[str, Price], gone: _Gone, sendable: int | None
) -> Iterator[str]:
    """What a submit would ask or refuse, what would wait, and what is odd about prices."""
    if looks_foreign(tally.known, tally.changed, gone.removed):
        yield "no row is part of this batch; submit would ask for --append, or another --label"
    elif gone.pending:
        yield (
            f"{gone.pending:,} of the removed rows still wait to be sent; submit would ask for "
            "--prune or --keep-removed"
        )
    if tally.resent:
        rows = sum(tally.resent.values())
        cost = estimate(tally.resent, amounts(book))
        price = "at an unknown price" if cost.high is None else f"for {to_usd(cost.high)} USD"
        yield (
            f"{rows:,} of the changed rows were sent before the change and are not bought again; "
            f"--resend-changed would, {price}"
        )
    waiting = (tally.classes + tally.waiting).total()
    if sendable is not None and sendable < waiting:
        yield (
            f"the limit lets {sendable:,} of the {waiting:,} rows go; the others wait for a higher "
            "--limit"
        )
    yield from disagreements(book, tally.classes)


def _known(
    context: Context | None, name: str, label: str, listed: PriceFile, now: int
) -> tuple[Batch | None, dict[str, Price], _Gone]:
    """The batch if it is there, the price book, and what would be gone if the file were empty."""
    if context is None:
        return None, listed.over({}, now), _Gone(0, 0)
    with context.store.read() as tx:
        batch = batches.find(tx, name, label)
        if batch is not None and batch.published_at is None:
            batch = None
        before = _Gone(0, 0)
        if batch is not None:
            counts = counting.by_state(tx, batch.id)
            rows = sum(counts.values()) - counts[State.WITHDRAWN] - counts[State.INVALID]
            before = _Gone(rows, counts[State.PENDING])
        return batch, listed.over(store_prices.book(tx, context.provider), tx.now), before


def _expect(context: Context, batch: Batch | None, rows: int, sender: str) -> Expectation | None:
    """By the latest ends of this batch and of the newest others at the same provider."""
    account = context.accounts.named(sender)
    with context.store.read() as tx:
        ids = batches.newest(tx, context.provider, RECENT)
        if batch is not None:
            ids = list(dict.fromkeys([batch.id, *ids]))[:RECENT]
        samples = [views.latest_ends(tx, batch_id, forecast.SAMPLE) for batch_id in ids]
    return forecast.expect(
        samples,
        rows,
        per_second=account.requests_per_second if account else None,
        in_flight=account.in_flight.most if account else None,
    )


def _count(
    context: Context | None,
    batch: Batch | None,
    tally: _Tally,
    group: list[SpecRow | BadRow | Problem | Note],
    *,
    reuse: bool,
) -> None:
    rows = [entry for entry in group if isinstance(entry, SpecRow)]
    tally.problems += [entry for entry in group if isinstance(entry, Problem)]
    tally.notes += [entry for entry in group if isinstance(entry, Note)]
    tally.rows += len(rows)
    for bad in (entry for entry in group if isinstance(entry, BadRow)):
        tally.invalid += 1
        tally.skipped += bad.problems
    found: dict[tuple[str, str], State] = {}
    if context is not None and batch is not None:
        with context.store.read() as tx:
            found = intake.known(tx, batch.id, [row.row_key for row in rows])
    tally.matched += sum(state not in _AWAY for state in found.values())
    tally.matched_pending += sum(state is State.PENDING for state in found.values())
    versions = _live_versions(found)
    taken: set[str] = set()
    if context is not None and reuse:
        new = [row for row in rows if (row.row_key, row.digest) not in found]
        with context.store.read() as tx:
            taken = tally.reusing.chosen(tx, batch.id if batch else 0, context.provider, new)
    for row in rows:
        digest = int(row.digest[:16], 16)
        tally.duplicates += digest in tally.digests
        tally.digests.add(digest)
        state = found.get((row.row_key, row.digest))
        earlier = versions.get(row.row_key)
        if state not in (None, State.INVALID):
            tally.known += 1
            tally.states[state] += 1
            tally.waiting[row.price_class] += state is State.PENDING
            if state is State.WITHDRAWN and earlier in (None, State.PENDING):
                tally.classes[row.price_class] += 1  # an edit back: it is sent after all
            continue
        if earlier is None:
            tally.new += 1
        else:
            tally.changed += 1
        if earlier not in (None, State.PENDING):
            tally.resent[row.price_class] += 1
        elif row.row_key in taken:
            tally.reused += 1
        else:
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
