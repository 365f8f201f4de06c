"""What the installation's figures are, as metrics: bounded in number, whatever has been done.

`docs/observability.md` lists them. Money becomes a float here, at the edge, and nowhere before.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from orchestrator import __version__
from orchestrator.domain import lateness, learned_cap
from orchestrator.domain.batch import batch_state
from orchestrator.domain.expiry import known_expiry, url_expiry
from orchestrator.domain.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.services.context import Context
from orchestrator.store import lineage, measures, refusals, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.measures import Money
from orchestrator.store.outbox import FORGOTTEN_AFTER_MS
from orchestrator.telemetry.families import Buckets, Families, Family, Kind
from orchestrator.telemetry.queues import Depths

OPEN_SHOWN, FINISHED_SHOWN = 50, 20
"""Batches with figures of their own; the rest is summed as `other`."""
SCHEDULES_SHOWN = 100
NEWEST_URLS = 1_000
OTHER = "other"
OTHER_SECONDS = 60.0
"""How long the sum of the others is kept: it reads a few rows for each batch there ever was."""
_NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Others:
    counts: dict[State, int]
    money: Money


class Measurer:
    """Reads the figures anew each time it is asked; safe for one thread at a time."""

    def __init__(self, context: Context, queues: Depths) -> None:
        self._context = context
        self._queues = queues
        self._others: tuple[float, frozenset[int], _Others] | None = None

    def families(self) -> list[Family]:
        """Everything that can be read; what cannot is left out, and its `up` is 0."""
        began = time.monotonic()
        into = Families()
        into.of("build_info", "The release and the schema it needs.", "version", "schema").add(
            1, __version__, t.SCHEMA
        )
        up = into.of("database_up", "Whether the database answered.")
        read = Families()
        try:
            with self._context.store.read() as tx:
                self._read(tx, read)
        except OrchestratorError:
            up.add(0)
            read = Families()
        else:
            up.add(1)
        self._read_queues(into)
        into.of("scrape_seconds", "How long it took to read all this.").add(
            time.monotonic() - began
        )
        return [*into, *read]

    def _read(self, tx: Tx, into: Families) -> None:
        batches = measures.shown(tx, OPEN_SHOWN, FINISHED_SHOWN)
        _batches(tx, into, batches, self._sum_others(tx, frozenset(b.id for b in batches)))
        _in_flight(tx, into)
        _backlogs(tx, into)
        _gates(tx, into)
        _caps(tx, into, self._context.provider)
        _urls(tx, into)
        _schedules(tx, into)
        _latenesses(tx, into, self._context.provider)

    def _sum_others(self, tx: Tx, shown: frozenset[int]) -> _Others:
        """Kept a while; read anew at once when another batch is shown."""
        now = time.monotonic()
        if self._others is not None:
            at, of, found = self._others
            if of == shown and now - at < OTHER_SECONDS:
                return found
        found = _Others(measures.other_counts(tx, shown), measures.other_money(tx, shown))
        self._others = now, shown, found
        return found

    def _read_queues(self, into: Families) -> None:
        found = self._queues()
        into.of("broker_up", "Whether the broker answered.").add(int(found is not None))
        if found is None:
            return
        waiting = into.of("queue_messages", "Messages that no worker has taken yet.", "queue")
        for queue, number in found.depths.items():
            waiting.add(number, queue)
        into.of(
            "messages_unacknowledged", "Messages that workers have taken and not acknowledged."
        ).add(found.unacknowledged)
        into.of("broker_memory_bytes", "What the broker's server uses.").add(found.used)
        into.of("broker_memory_limit_bytes", "What it may use; 0 without a limit.").add(found.limit)


def _usd(nanos: int) -> float:
    return nanos / _NANOS


def _batches(tx: Tx, into: Families, batches: Collection[Batch], others: _Others) -> None:
    into.of("batches_open", "Batches that are not finished.").add(measures.open_batches(tx))
    counts = measures.counts(tx, [batch.id for batch in batches])
    waiting = measures.waiting(tx)
    standing = {gate.provider for gate in measures.closed_gates(tx) if gate.stands}
    items = into.of("items", "Rows by state.", "batch", "state")
    state = into.of("batch_state", "1 at the state that the batch is in.", "batch", "state")
    stopped = into.of("batch_stopped", "1 where the batch stopped by itself.", "batch", "code")
    spend = into.of(
        "spend_usd",
        "Money in USD: charged (actual), taken for charged (assumed), as it was announced "
        "(estimated), and reserved for what may be charged (held).",
        *("batch", "kind"),
    )
    left = into.of("budget_left_usd", "What a batch's budget leaves, in USD.", "batch")
    whole = into.of("budget_usd", "A batch's budget, in USD.", "batch")
    person = into.of("needs_person", "Rows that wait for a person.", "batch", "code")
    for batch in batches:
        title, own = batch.title, counts[batch.id]
        codes = waiting.pop(batch.id, {})
        for each in State:
            items.add(own.get(each, 0), title, each)
        now = batch_state(
            wanted=batch.wanted,
            counts=own,
            waiting={key: sum(of.values()) for key, of in codes.items()},
            stop=batch.stop_code,
            gate_closed=batch.provider in standing,
        )
        state.add(1, title, now)
        if batch.stop_code is not None:
            stopped.add(1, title, batch.stop_code)
        _add_money(spend, title, _money(batch))
        if batch.budget_nanos is not None and batch.free_nanos is not None:
            whole.add(_usd(batch.budget_nanos), title)
            left.add(_usd(batch.free_nanos), title)
        _add_codes(person, title, codes.values())
    for each in State:
        items.add(others.counts.get(each, 0), OTHER, each)
    _add_money(spend, OTHER, others.money)
    _add_codes(person, OTHER, [of for codes in waiting.values() for of in codes.values()])


def _money(batch: Batch) -> Money:
    return Money(batch.actual_nanos, batch.assumed_nanos, batch.estimated_nanos, batch.held_nanos)


def _add_money(spend: Family, title: str, money: Money) -> None:
    for kind, nanos in money._asdict().items():
        spend.add(_usd(nanos), title, kind)


def _add_codes(person: Family, title: str, found: Collection[dict[str, int]]) -> None:
    sums: dict[str, int] = {}
    for codes in found:
        for code, number in codes.items():
            sums[code] = sums.get(code, 0) + number
    for code, number in sorted(sums.items()):
        person.add(number, title, code)


def _in_flight(tx: Tx, into: Families) -> None:
    number = into.of(
        "in_flight", "Purchases that may be running at the provider.", "account", "state"
    )
    held = into.of("in_flight_held_usd", "Money reserved for them, in USD.", "account", "state")
    oldest = into.of(
        "in_flight_oldest_seconds",
        "How long ago the oldest of them was first sent.",
        *("account", "state"),
    )
    found = measures.in_flight(tx)
    for one in found:
        number.add(one.number, one.account, one.state)
        held.add(_usd(one.held), one.account, one.state)
        if one.oldest is not None:
            oldest.add(max(0, tx.now - one.oldest) / 1000, one.account, one.state)
    unknown = [one for one in found if one.state is State.UNKNOWN]
    into.of("unknown", "Purchases whose answer was lost: charged or not, nobody knows.").add(
        sum(one.number for one in unknown)
    )
    into.of("unknown_held_usd", "Money reserved for those, in USD.").add(
        _usd(sum(one.held for one in unknown))
    )


def _backlogs(tx: Tx, into: Families) -> None:
    due = measures.due_polls(tx)
    into.of("polls_overdue", "Tasks that should have been asked about by now.").add(due.number)
    into.of("polls_overdue_oldest_seconds", "How late the latest of them is.").add(
        0 if due.oldest is None else (tx.now - due.oldest) / 1000
    )
    into.of("rows_to_send", "Rows of open batches that only wait for a worker.").add(
        measures.rows_to_send(tx)
    )
    into.of("chunks_unstarted", "Chunks whose message no worker has started.").add(
        measures.unstarted_chunks(tx)
    )
    alive = into.of(
        "worker_processes", "Worker processes that gave a sign of life within 20 s.", "buys"
    )
    for buys, number in measures.living_processes(tx).items():
        alive.add(number, "yes" if buys else "no")
    into.of("sending_stopped", "1 while the database is older than the journals know.").add(
        int(lineage.closed(tx) is not None)
    )
    into.of("journals_missing", "Journals that sending then waits for.").add(
        len(lineage.missing(tx))
    )
    into.of("beats", "Beats whose ticks workers have heard within 20 s.").add(
        len(workers.beats(tx))
    )
    events = measures.undelivered_events(tx, tx.now - FORGOTTEN_AFTER_MS)
    into.of("events_undelivered", "Events that webhook or command have not taken yet.").add(
        events.number
    )
    into.of("events_undelivered_oldest_seconds", "Age of the oldest of them.").add(
        0 if events.oldest is None else (tx.now - events.oldest) / 1000
    )


def _gates(tx: Tx, into: Families) -> None:
    closed = into.of(
        "gates_closed",
        "Closed gates: nothing is sent; `stands` where time alone does not open them.",
        *("reason", "account", "model", "stands"),
    )
    since = into.of(
        "gate_closed_seconds",
        "How long a gate has been closed.",
        *("reason", "account", "model", "stands"),
    )
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for gate in measures.closed_gates(tx):
        stands = "yes" if gate.stands else "no"
        found.setdefault((gate.reason, gate.account, gate.model, stands), []).append(gate.closed_at)
    for labels, moments in found.items():
        closed.add(len(moments), *labels)
        since.add(max(0, tx.now - min(moments)) / 1000, *labels)


def _caps(tx: Tx, into: Families, provider: str) -> None:
    learned = into.of(
        "in_flight_cap",
        "So many may be in flight, as refusals have taught; none while they teach nothing.",
        *("account", "model"),
    )
    for account, model, refusal in refusals.of_accounts(tx, provider):
        number = learned_cap.cap(refusal, tx.now)
        if number is not None:
            learned.add(number, account, model)


def _urls(tx: Tx, into: Families) -> None:
    unsaved = measures.unsaved_urls(tx, NEWEST_URLS)
    into.of("urls_unsaved", f"Videos that nobody has saved, of the newest {NEWEST_URLS:,}.").add(
        len(unsaved)
    )
    soonest = into.of(
        "url_soonest_expiry_timestamp_seconds",
        "When the first of those URLs may die; `told`: whether the URL itself says so, else an "
        "hour after it was first seen is assumed.",
        "told",
    )
    dead = into.of("urls_expired", "Those whose moment has passed.", "told")
    for told in (True, False):
        moments = [
            url_expiry(url, seen_at)
            for url, seen_at in unsaved
            if (known_expiry(url) is not None) is told
        ]
        dead.add(sum(moment <= tx.now for moment in moments), _yes(told=told))
        alive = [moment for moment in moments if moment > tx.now]
        if alive:
            soonest.add(min(alive) / 1000, _yes(told=told))


def _yes(*, told: bool) -> str:
    return "yes" if told else "no"


def _schedules(tx: Tx, into: Families) -> None:
    missed = into.of(
        "schedule_missed",
        "Runs that did not take place in their time.",
        "schedule",
        kind=Kind.COUNTER,
    )
    failures = into.of("schedule_failures", "Failed runs in a row.", "schedule")
    paused = into.of("schedule_paused", "1 where no runs are made.", "schedule")
    late = into.of("schedule_late_seconds", "How long a run is overdue.", "schedule")
    for one in measures.schedules(tx, SCHEDULES_SHOWN):
        missed.add(one.missed, one.name)
        failures.add(one.failures, one.name)
        paused.add(int(one.paused), one.name)
        waits = one.next_at is None or one.paused
        late.add(0 if waits else max(0, tx.now - (one.next_at or 0)) / 1000, one.name)


def _latenesses(tx: Tx, into: Families, provider: str) -> None:
    family = into.of(
        "detection_lag_seconds",
        "From the poll that saw a task run to the one that saw it ended: its end was noticed at "
        "most so late, half of it on average.",
        "price_class",
        kind=Kind.HISTOGRAM,
    )
    for of, price_class, text in measures.latenesses(tx):
        try:
            late = lateness.from_json(text)
        except ValueError:
            continue
        if of == provider:
            ends = [*map(float, lateness.BOUNDS), float("inf")]
            upto = list(zip(ends, accumulate(late.counts), strict=True))
            family.add(Buckets(upto, late.total / 1000), price_class)
