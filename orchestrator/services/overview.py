"""Each batch as one row for a person who looks at tasks: what Flower is told, again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.batch import BatchState
from orchestrator.domain.money import to_usd
from orchestrator.domain.states import State
from orchestrator.services import status
from orchestrator.services.context import Context
from orchestrator.services.status import BatchStatus, iso, span
from orchestrator.store import batches

SHOWN_AFTER_END_MS = 24 * 3_600_000
"""A finished batch is told of this long, for a Flower that was away when it finished."""


class Phase(StrEnum):
    """How a row stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One batch. Times in seconds since 1970; `reopened`: it was at its end before.

    `received`: Flower lists the newest first, so an open batch is received again and again, to
    stay above its own chunks.
    """

    id: str
    name: str
    phase: Phase
    args: str
    kwargs: str
    result: str
    received: float
    runtime: float
    reopened: bool


def rows(context: Context) -> list[Row]:
    """Every open batch, and those that ended lately."""
    with context.store.read() as tx:
        found = batches.lively(tx, since=tx.now - SHOWN_AFTER_END_MS)
        announced = batches.announced(tx, [batch.id for batch in found])
        return [
            _row(status.read(tx, context, batch), tx.now, reopened=batch.id in announced)
            for batch in found
        ]


def _row(now: BatchStatus, time_ms: int, *, reopened: bool) -> Row:
    batch = now.batch
    seconds = ((batch.finished_at or time_ms) - batch.created_at) / 1000
    progress = f"{now.done:,}/{now.total:,} done"
    figures: dict[str, object] = {
        "state": now.state,
        "begun": iso(batch.created_at),
        "failed": now.unsuccessful,
        "unknown": now.counts[State.UNKNOWN],
        "needs_person": now.needs_person,
        "spent": to_usd(now.cost_nanos),
        "held": to_usd(batch.held_nanos),
        "budget": None if batch.budget_nanos is None else to_usd(batch.budget_nanos),
        "eta": None if now.forecast is None else span(now.forecast.likely),
    }
    return Row(
        id=f"batch-{batch.id}",
        name=f"batch:{batch.title}",
        phase=_phase(now),
        args=progress,
        kwargs=json.dumps(figures),
        result=f"{progress}, ${to_usd(now.cost_nanos)}{_reason(now)}",
        received=(batch.finished_at or time_ms) / 1000,
        runtime=seconds,
        reopened=reopened,
    )


def _phase(now: BatchStatus) -> Phase:
    if now.state is not BatchState.FINISHED:
        return Phase.RUNNING
    return Phase.FAILED if now.unsuccessful else Phase.SUCCEEDED


def _reason(now: BatchStatus) -> str:
    if now.gate is not None:
        return f", {now.gate.message}"
    if now.batch.stop_message:
        return f", {now.batch.stop_message}"
    return f", {now.unsuccessful:,} without success" if now.unsuccessful else ""
