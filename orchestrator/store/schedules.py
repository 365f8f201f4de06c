"""Schedules: adding, changing, pausing, and how far each has got."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, or_, select, update

from orchestrator.domain.schedule import AHEAD, CatchUp, Overlap, Policy, Timetable
from orchestrator.domain.schedule_terms import Definition
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.many import insert_ignoring


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as stored. `last_at`: times up to it were looked at; `next_at`: the next one."""

    id: int
    definition: Definition
    paused_at: int | None
    paused_why: str | None
    failures: int
    """Failed runs in a row."""
    missed: int
    missed_at: int | None
    last_at: int
    next_at: int | None
    created_at: int

    @property
    def name(self) -> str:
        return self.definition.name


_s = t.schedules.c


def _schedule(row: Row) -> Schedule:
    table = Timetable(row.cron, row.zone)
    policy = Policy(
        Overlap(row.overlap),
        CatchUp(row.catch_up),
        row.catch_up_window,
        row.catch_up_max,
        row.pause_after,
    )
    definition = Definition(row.name, row.spec, row.batch_name, table, row.budget_nanos, policy)
    return Schedule(
        row.id,
        definition,
        row.paused_at,
        row.paused_why,
        row.failures,
        row.missed,
        row.missed_at,
        row.last_at,
        row.next_at,
        row.created_at,
    )


def _values(definition: Definition) -> dict[str, object]:
    policy = definition.policy
    return {
        "spec": definition.spec,
        "batch_name": definition.batch_name,
        "cron": definition.table.cron,
        "zone": definition.table.zone,
        "budget_nanos": definition.budget_nanos,
        "overlap": policy.overlap.value,
        "catch_up": policy.catch_up.value,
        "catch_up_window": policy.window,
        "catch_up_max": policy.most,
        "pause_after": policy.pause_after,
    }


def every(tx: Tx) -> list[Schedule]:
    """All of them, by name."""
    return [_schedule(row) for row in tx.conn.execute(select(t.schedules).order_by(_s.name))]


def find(tx: Tx, name: str) -> Schedule | None:
    row = tx.conn.execute(select(t.schedules).where(_s.name == name)).one_or_none()
    return None if row is None else _schedule(row)


def of_batch_name(tx: Tx, batch_name: str) -> Schedule | None:
    """The schedule that makes the batches of this name; there is one at most."""
    row = tx.conn.execute(select(t.schedules).where(_s.batch_name == batch_name)).one_or_none()
    return None if row is None else _schedule(row)


def due(tx: Tx) -> list[Schedule]:
    """Those whose next time has come, or that are further than a right clock could have got."""
    query = select(t.schedules).where(
        _s.paused_at.is_(None), or_(_s.next_at <= tx.now, _s.last_at > tx.now + AHEAD)
    )
    return [_schedule(row) for row in tx.conn.execute(query.order_by(_s.id))]


def add(tx: Tx, definition: Definition, next_at: int | None) -> bool:
    """A new schedule, which looks at times from now on; False where its name is taken."""
    values = _values(definition) | {
        "name": definition.name,
        "failures": 0,
        "missed": 0,
        "last_at": tx.now,
        "next_at": next_at,
        "created_at": tx.now,
    }
    made = insert_ignoring(tx, t.schedules).values(values).returning(_s.id)
    return tx.conn.execute(made).scalar_one_or_none() is not None


def change(tx: Tx, name: str, definition: Definition) -> bool:
    """Other terms, at the times it has."""
    values = _values(definition)
    return bool(tx.conn.execute(update(t.schedules).where(_s.name == name).values(values)).rowcount)


def restart(tx: Tx, name: str, next_at: int | None) -> None:
    """Look at times from now on: those before are not of the new timetable."""
    values = {"last_at": tx.now, "next_at": next_at}
    tx.conn.execute(update(t.schedules).where(_s.name == name).values(values))


def remove(tx: Tx, name: str) -> bool:
    return bool(tx.conn.execute(delete(t.schedules).where(_s.name == name)).rowcount)


def advance(tx: Tx, schedule: Schedule, *, last: int, next_at: int | None, missed: int) -> bool:
    """Have looked at the times up to `last`; False where somebody else has, or it was paused."""
    values: dict[str, object] = {"last_at": last, "next_at": next_at}
    if missed:
        values |= {"missed": _s.missed + missed, "missed_at": tx.now}
    statement = update(t.schedules).where(
        _s.id == schedule.id,
        _s.last_at == schedule.last_at,
        _s.next_at.is_not_distinct_from(schedule.next_at),
        _s.paused_at.is_(None),
    )
    return bool(tx.conn.execute(statement.values(values)).rowcount)


def pause(tx: Tx, name: str, why: str) -> bool:
    """Make no more runs by itself; False where it is paused already, or not there."""
    statement = update(t.schedules).where(_s.name == name, _s.paused_at.is_(None))
    return bool(tx.conn.execute(statement.values(paused_at=tx.now, paused_why=why)).rowcount)


def resume(tx: Tx, name: str, next_at: int | None) -> bool:
    """Go on from now: what was due meanwhile was not missed. False where it is not paused."""
    statement = update(t.schedules).where(_s.name == name, _s.paused_at.is_not(None))
    values = {"paused_at": None, "paused_why": None, "failures": 0, "last_at": tx.now}
    return bool(tx.conn.execute(statement.values(values | {"next_at": next_at})).rowcount)


def count_failure(tx: Tx, name: str) -> Schedule | None:
    """One more failed run in a row; None where the schedule is gone."""
    statement = update(t.schedules).where(_s.name == name).values(failures=_s.failures + 1)
    tx.conn.execute(statement)
    return find(tx, name)


def count_success(tx: Tx, name: str) -> None:
    tx.conn.execute(update(t.schedules).where(_s.name == name).values(failures=0))
