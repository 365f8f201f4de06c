"""What the outside hears of schedules; written in the transaction that made it true."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from orchestrator.domain import schedule as rule
from orchestrator.domain.money import to_usd, to_usd_or_none
from orchestrator.domain.schedule import Due
from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.services.pricing import Estimate
from orchestrator.services.status import iso
from orchestrator.store import outbox
from orchestrator.store.engine import Tx
from orchestrator.store.schedules import Schedule

MISSED, FAILED = "schedule.missed", "schedule.failed"
PAUSED, CATCHING_UP = "schedule.paused", "schedule.catching_up"
SHOWN_PROBLEMS = 5


def missed(tx: Tx, schedule: Schedule, due: Due) -> None:
    """Times at which nothing was there to make a run; with those that are made after all."""
    said = {
        "schedule": schedule.name,
        "missed": due.missed,
        "caught_up": [rule.label(at) for at in due.caught_up],
        "catch_up": schedule.definition.policy.catch_up.value,
        "mend": f"`orchestrator schedule trigger {schedule.name}` makes one now.",
    }
    _add(tx, f"schedule-missed-{schedule.id}-{due.last}", MISSED, said)


def catching_up(tx: Tx, schedule: Schedule, late: Sequence[int], cost: Estimate) -> None:
    """Missed runs are made after all: how many, and what they will cost together."""
    number = len(late)
    budget = schedule.definition.budget_nanos
    said = {
        "schedule": schedule.name,
        "runs": [rule.label(at) for at in late],
        "cost": {
            "low": to_usd(cost.low * number),
            "high": to_usd_or_none(None if cost.high is None else cost.high * number),
            "known": cost.known,
        },
        "budget": to_usd_or_none(None if budget is None else budget * number),
    }
    _add(tx, f"schedule-catching-up-{schedule.id}-{late[-1]}", CATCHING_UP, said)


def failed(tx: Tx, schedule: str, batch_name: str, at: int, error: OrchestratorError) -> None:
    """A run that made no batch, or whose batch made no video."""
    problems = error.problems[:SHOWN_PROBLEMS] if isinstance(error, SpecError) else ()
    title = f"{batch_name}@{rule.label(at)}"
    said = {
        "schedule": schedule,
        "batch": title,
        "code": error.code,
        "message": error.message,
        "mend": error.mend,
        "problems": [str(problem) for problem in problems],
    }
    _add(tx, f"schedule-failed-{title}", FAILED, said)


def paused(tx: Tx, schedule: Schedule, why: str) -> None:
    """A schedule that paused itself."""
    said = {
        "schedule": schedule.name,
        "failures": schedule.failures,
        "message": why,
        "at": iso(tx.now),
        "mend": f"`orchestrator schedule resume {schedule.name}` once the cause is mended.",
    }
    _add(tx, f"schedule-paused-{schedule.id}-{tx.now}", PAUSED, said)


def _add(tx: Tx, event_id: str, kind: str, said: Mapping[str, object]) -> None:
    outbox.add(tx, event_id=event_id, batch_id=None, kind=kind, payload=json.dumps(said))
