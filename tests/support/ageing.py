"""Time that passes in the database alone, so that no test waits for what only time mends."""

from __future__ import annotations

import time

from sqlalchemy import create_engine, text

from orchestrator.services.context import Timing

RESERVE = Timing(request=0, chunk_size=1).reserve
_END_RESERVATIONS = (
    "UPDATE chunks SET expires_at = 0 WHERE expires_at <= :latest",
    "UPDATE items SET due_at = 0 WHERE state = 'pending' AND due_at BETWEEN 1 AND :latest",
)
_END_LEASES = "UPDATE submissions SET lease_until = 0 WHERE lease_until IS NOT NULL"


def end_reservations(url: str, *, older_than: float = 0.0) -> None:
    """Rows whose message has not come for so many seconds may be dispatched again."""
    latest = round((time.time() - older_than) * 1000) + RESERVE
    _execute(url, *((statement, {"latest": latest}) for statement in _END_RESERVATIONS))


def end_leases(url: str) -> None:
    """Whoever holds a lease has held it too long."""
    _execute(url, (_END_LEASES, {}))


def end_readings(url: str) -> None:
    """Whoever reads a spec into a batch has been silent for too long."""
    _execute(url, ("UPDATE batches SET intake_until = 0 WHERE intake_until IS NOT NULL", {}))


def make_due(url: str, schedule: str, at: int) -> None:
    """The schedule has looked at no time since just before `at`."""
    values: dict[str, int | str] = {"name": schedule, "last": at - 1, "next": at}
    _execute(
        url,
        ("UPDATE schedules SET last_at = :last, next_at = :next WHERE name = :name", values),
    )


def _execute(url: str, *statements: tuple[str, dict[str, int | str]]) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        for statement, values in statements:
            conn.execute(text(statement), values)
    engine.dispose()
