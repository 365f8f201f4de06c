"""A schedule as a person looks at it: its terms, its next times, its last runs and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from orchestrator.domain import schedule as rule
from orchestrator.domain.money import to_usd_or_none
from orchestrator.services.context import Context
from orchestrator.services.status import iso
from orchestrator.store import batches, occurrences, schedules
from orchestrator.store.engine import Tx
from orchestrator.store.occurrences import Run
from orchestrator.store.schedules import Schedule


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run and what its batch has cost so far; None where there is no batch."""

    run: Run
    cost_nanos: int | None

    def as_json(self) -> dict[str, object]:
        run = self.run
        return {
            "label": run.label,
            "batch": run.title if run.batch_id is not None else None,
            "at": iso(run.nominal_at),
            "kind": run.kind.value,
            "state": run.state.value,
            "cost": to_usd_or_none(self.cost_nanos),
            "spec_digest": run.spec_digest,
            "error_code": run.error_code,
            "error_message": run.error_message,
        }


@dataclass(frozen=True, slots=True)
class Sighting:
    """`coming`: its next times, none while it is paused; `runs`: the last ones, newest first."""

    schedule: Schedule
    coming: tuple[int, ...]
    runs: tuple[SeenRun, ...]

    @property
    def state(self) -> str:
        return "active" if self.schedule.paused_at is None else "paused"

    def as_json(self) -> dict[str, object]:
        schedule = self.schedule
        terms = schedule.definition.terms()
        return {
            "schedule": schedule.name,
            "state": self.state,
            **terms,
            "paused_at": iso(schedule.paused_at),
            "paused_why": schedule.paused_why,
            "failures": schedule.failures,
            "missed": schedule.missed,
            "missed_at": iso(schedule.missed_at),
            "next": [iso(at) for at in self.coming],
            "runs": [one.as_json() for one in self.runs],
        }


def look(context: Context, schedule: Schedule, *, times: int, runs: int) -> Sighting:
    with context.store.read() as tx:
        return _sighting(tx, schedule, times, runs)


def every(context: Context) -> list[Sighting]:
    """All schedules, each with its next time and its last run."""
    with context.store.read() as tx:
        return [_sighting(tx, one, 1, 1) for one in schedules.every(tx)]


def _sighting(tx: Tx, schedule: Schedule, times: int, runs: int) -> Sighting:
    coming: tuple[int, ...] = ()
    if schedule.paused_at is None:
        # Times after the last one looked at: one that is due now, and not yet made, is shown too.
        begin = max(schedule.last_at, tx.now - rule.GRACE)
        coming = tuple(islice(rule.after(schedule.definition.table, begin), times))
    seen = tuple(seen_run(tx, run) for run in occurrences.latest(tx, schedule.name, runs))
    return Sighting(schedule, coming, seen)


def seen_run(tx: Tx, run: Run) -> SeenRun:
    if run.batch_id is None:
        return SeenRun(run, None)
    batch = batches.get(tx, run.batch_id)
    return SeenRun(run, batch.actual_nanos + batch.assumed_nanos)
