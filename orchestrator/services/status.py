"""How a batch is doing, at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.domain.account import key_variable
from orchestrator.domain.batch import BatchState, Stop, batch_state
from orchestrator.domain.canary import WHOLE
from orchestrator.domain.forecast import SAMPLE, Forecast, forecast
from orchestrator.domain.gate import KINDS
from orchestrator.domain.money import to_usd, to_usd_or_none
from orchestrator.domain.outcome import GateReason
from orchestrator.domain.states import IN_FLIGHT, OPEN, POLLED, State
from orchestrator.services import rejoining
from orchestrator.services.context import Context
from orchestrator.services.pricing import Estimate, estimate
from orchestrator.store import counting, gates, prices, reuse, views, workers
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.gates import Gate
from orchestrator.store.intake import INVALID_CODE

OTHER_KEY = "other_api_key"
"""Beside the stored codes: sent with an API key that is not the one configured now."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """`waiting`: code -> open items that need a person. Money in nano-dollars."""

    batch: Batch
    state: BatchState
    counts: dict[State, int]
    waiting: dict[str, int]
    gate: Gate | None
    moving: int
    """Items that something may still become of without a person."""
    workers: int
    """Worker processes that gave a sign of life lately; counted while the batch is not finished."""
    forecast: Forecast | None
    """When it is done, if nothing bars the way; None while nobody can tell."""
    reused: int
    """Items that took the result of another batch."""
    unsent: Estimate
    """What the items that are still to be sent will cost, as far as their prices are known."""

    @property
    def total(self) -> int:
        """The items of the batch, without those that were taken back."""
        return sum(self.counts.values()) - self.counts[State.WITHDRAWN]

    @property
    def needs_person(self) -> int:
        return sum(self.waiting.values())

    @property
    def done(self) -> int:
        return self.total - sum(self.counts[state] for state in OPEN)

    @property
    def unsuccessful(self) -> int:
        ended = (State.FAILED, State.CANCELLED, State.REJECTED, State.INVALID)
        return sum(self.counts[state] for state in ended)

    @property
    def cost_nanos(self) -> int:
        """What the batch has cost so far, as far as it is settled."""
        return self.batch.actual_nanos + self.batch.assumed_nanos

    @property
    def projected(self) -> Estimate:
        """What the batch will have cost at its end, if each item costs what its class did."""
        sure = self.cost_nanos + self.batch.held_nanos
        high = None if self.unsent.high is None else sure + self.unsent.high
        return Estimate(sure + self.unsent.low, high)

    def failure_mend(self, code: str) -> str:
        """What buys anew the items that ended with this code, or makes them fit to be bought."""
        if code == INVALID_CODE:
            return "mend these rows in the spec, and submit it again"
        return f"orchestrator retry {self.batch.title} --where code={code}"

    @property
    def settled(self) -> bool:
        """Whether waiting cannot change anything any more without a person."""
        if self.state in (BatchState.PAUSED, BatchState.CANCELLING):
            return self.moving == 0
        still_open = sum(self.counts[state] for state in OPEN)
        return self.state in (BatchState.FINISHED, BatchState.BLOCKED) or (
            still_open <= self.needs_person
        )

    @property
    def idle(self) -> bool:
        """Whether something would happen if only a worker were running."""
        return self.workers == 0 and not self.settled

    @property
    def in_flight(self) -> int:
        """Items that money may have been spent on and whose end is not known."""
        return sum(self.counts[state] for state in IN_FLIGHT)

    def counts_line(self) -> str:
        """`22 succeeded, 2 failed`: the states that have items."""
        shown = (f"{number:,} {state}" for state, number in self.counts.items() if number)
        line = ", ".join(shown)
        return f"{line}; {self.reused:,} reused" if self.reused else line

    def stop_mend(self) -> str:
        """What makes a batch go on that stopped by itself."""
        title = self.batch.title
        if self.batch.stop_code is Stop.BUDGET:
            return f"`orchestrator resume {title} --budget USD` goes on with a higher one."
        if self.batch.stop_code is Stop.MAX_PRICE:
            return "Submit the same spec again with a higher --max-price."
        if self.batch.stop_code is Stop.LIMIT:
            return "Submit the same spec again with a higher --limit, or --limit none."
        if self.batch.stop_code is Stop.CANARY:
            return f"`orchestrator resume {title}` lets the other rows go all the same."
        if self.batch.stop_code is Stop.DEADLINE:
            return "Submit the same spec again with a later deadline."
        return f"`orchestrator resolve {title}` shows which; settle each with --charged."

    def person_mend(self, code: str) -> str:
        """What settles the items that wait with this code."""
        if code == OTHER_KEY:
            return (
                "Set MINDVIDEO_API_KEY back to the key that they were sent with, or give that key "
                "a name of its own: MINDVIDEO_API_KEY_OLD."
            )
        return f"`orchestrator resolve {self.batch.title}` asks again or takes your verdict."

    def wanted_mend(self) -> str | None:
        """What makes a batch go on that a person stopped."""
        if self.state in (BatchState.PAUSED, BatchState.CANCELLING):
            return f"`orchestrator resume {self.batch.title}` goes on with it."
        return None

    def exit_code(self) -> int:
        """The code of docs/exit-codes.md for a command that ends here."""
        gate = self.gate
        if self.state is BatchState.BLOCKED and gate is not None and not _passes(gate):
            return KINDS[gate.reason].exit_code
        if self.needs_person or self.batch.stop_code is Stop.COST_UNREADABLE:
            return 5
        if self.state is BatchState.BLOCKED and self.batch.stop_code is Stop.DEADLINE:
            return 5
        if self.state in (BatchState.PAUSED, BatchState.CANCELLING):
            return 5
        if self.state is BatchState.BLOCKED and self.batch.stop_code is not None:
            return 4
        return 1 if self.unsuccessful else 0

    def as_json(self) -> dict[str, object]:
        batch = self.batch
        return {
            "batch": batch.title,
            "name": batch.name,
            "label": batch.label,
            "account": batch.account,
            "state": self.state,
            "total": self.total,
            "counts": {str(state): number for state, number in self.counts.items()},
            "reused": self.reused,
            "needs_person": self.needs_person,
            "cost": {
                "estimated": to_usd_or_none(batch.estimated_nanos),
                "actual": to_usd(batch.actual_nanos),
                "held": to_usd(batch.held_nanos),
                "assumed": to_usd(batch.assumed_nanos),
                "budget": to_usd_or_none(batch.budget_nanos),
            },
            "gate": self._gate_json(),
            "workers": self.workers,
            "priority": batch.weight,
            "limit": batch.row_limit,
            "sent": batch.sent_rows,
            "canary": self._canary_json(),
            "eta": None if self.forecast is None else self._eta_json(self.forecast),
            "deadline": iso(batch.deadline_at),
            "created_at": iso(batch.created_at),
            "finished_at": iso(batch.finished_at),
            "archived_at": iso(batch.archived_at),
        }

    @staticmethod
    def _eta_json(forecast: Forecast) -> dict[str, object]:
        """Seconds from now."""
        return {
            "low": round(forecast.low / 1000),
            "likely": round(forecast.likely / 1000),
            "high": round(forecast.high / 1000),
        }

    def _canary_json(self) -> dict[str, object] | None:
        """How far the rows are that went first; shares as numbers, the patience in seconds."""
        canary = self.batch.canary
        if canary is None:
            return None
        return {
            "phase": self.batch.canary_phase,
            "rows": canary.rows,
            "failures": canary.failures / WHOLE,
            "cost": canary.cost / WHOLE,
            "patience": canary.patience / 1000,
        }

    def _gate_json(self) -> dict[str, object] | None:
        """What bars the way: a gate, else what stopped the batch."""
        if self.gate is not None:
            return {
                "reason": self.gate.reason,
                "message": self.gate.message,
                "mend": self.gate.mend,
                "until": iso(self.gate.until),
            }
        if self.batch.stop_code is None:
            return None
        return {
            "reason": self.batch.stop_code,
            "message": self.batch.stop_message,
            "mend": self.stop_mend(),
            "until": None,
        }


def _passes(gate: Gate) -> bool:
    """Whether waiting may open it."""
    return gate.until is not None or KINDS[gate.reason].patient


def span(time_ms: int) -> str:
    """A length of time for people: 40s, 12m, 1h05m."""
    seconds = round(time_ms / 1000)
    if seconds < 100:
        return f"{seconds}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"


def iso(time_ms: int | None) -> str | None:
    """Milliseconds as ISO 8601 UTC."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(tx: Tx, context: Context, batch: Batch) -> BatchStatus:
    counts = counting.by_state(tx, batch.id)
    waiting = views.waiting(tx, batch.id)
    closed: list[Gate] = []
    if context.accounts and batch.finished_at is None:
        other = views.sent_with_other_key(tx, batch.id, context.accounts.ids)
        if other:
            # Workers may have keys that are not set where somebody looks.
            theirs = set().union(*workers.keys_of(tx, batch.provider).values())
            other = views.sent_with_other_key(tx, batch.id, [*context.accounts.ids, *theirs])
        for item_state, number in other.items():
            waiting.setdefault(item_state, {})[OTHER_KEY] = number
        closed = _closed(tx, context, batch, counts)
    behind = rejoining.gate(tx) if batch.finished_at is None else None
    closed = closed if behind is None else [behind, *closed]
    standing = [gate for gate in closed if not _passes(gate)]
    state = batch_state(
        wanted=batch.wanted,
        counts=counts,
        waiting={key: sum(codes.values()) for key, codes in waiting.items()},
        stop=batch.stop_code,
        gate_closed=bool(standing),
    )
    by_code: dict[str, int] = {}
    for codes in waiting.values():
        for code, number in codes.items():
            by_code[code] = by_code.get(code, 0) + number
    gate = next(iter(standing or closed), None)
    barred = {key: sum(codes.values()) for key, codes in waiting.items()}
    moving = sum(counts[key] - barred.get(key, 0) for key in (State.SUBMITTING, *POLLED))
    left = {} if batch.finished_at else counting.unsent_by_class(tx, batch.id)
    unsent = estimate(left, prices.known(tx, batch.provider) if left else {})
    alive = 0 if batch.finished_at else len(workers.alive(tx))
    taken = reuse.count(tx, batch.id)
    coming = _forecast(tx, batch, counts) if state is BatchState.RUNNING else None
    return BatchStatus(batch, state, counts, by_code, gate, moving, alive, coming, taken, unsent)


def _closed(tx: Tx, context: Context, batch: Batch, counts: dict[State, int]) -> list[Gate]:
    """The gates of the batch's account; that neither we nor a worker has its key is one too."""
    account = context.accounts.named(batch.account)
    if account is not None:
        return gates.closed(tx, batch.provider, account.id)
    theirs = workers.keys_of(tx, batch.provider).get(batch.account)
    if theirs:
        return [gate for key in theirs for gate in gates.closed(tx, batch.provider, key)]
    if not counts[State.PENDING]:
        return []
    kind = KINDS[GateReason.NO_API_KEY]
    gate = Gate(
        id=0,
        provider=batch.provider,
        account="",
        model=gates.ANY_MODEL,
        reason=GateReason.NO_API_KEY,
        message=f"{kind.sentence}, {batch.account}",
        mend=kind.mend_for(key_variable(batch.account)),
        closings=1,
        closed_at=tx.now,
        until=None,
        probe_at=None,
    )
    return [gate]


def _forecast(tx: Tx, batch: Batch, counts: dict[State, int]) -> Forecast | None:
    return forecast(
        views.latest_ends(tx, batch.id, SAMPLE),
        now=tx.now,
        unsent=counts[State.PENDING],
        running=sum(counts[state] for state in IN_FLIGHT),
        youngest=tx.now - (views.youngest_accepted(tx, batch.id) or tx.now),
    )
