"""The runs of schedules: who won which minute, with what spec, and what became of it."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from sqlalchemy import select, update

from orchestrator.domain.schedule import Kind, RunState
from orchestrator.domain.schedule_terms import Definition
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.many import insert_ignoring

_o = t.occurrences.c
_OPEN = t.said_of("occurrences", t.OPEN_RUN)


@dataclass(frozen=True, slots=True)
class Run:
    """One run as stored. `queued`: it waits for the earlier ones of its schedule."""

    id: int
    schedule: str
    batch_name: str
    label: str
    nominal_at: int
    kind: Kind
    queued: bool
    state: RunState
    spec: str
    spec_digest: str | None
    budget_nanos: int | None
    batch_id: int | None
    error_code: str | None
    error_message: str | None
    created_at: int
    ended_at: int | None

    @property
    def title(self) -> str:
        return f"{self.batch_name}@{self.label}"


_FIELDS = [_o[name] for name in Run.__dataclass_fields__]


def _run(row: Row) -> Run:
    values = dict(row._mapping)  # noqa: SLF001 SQLAlchemy's public name for it
    values["kind"] = Kind(values["kind"])
    values["state"] = RunState(values["state"])
    return Run(**values)


def win(
    tx: Tx,
    definition: Definition,
    *,
    label: str,
    nominal_at: int,
    kind: Kind,
    queued: bool = False,
    state: RunState = RunState.WAITING,
    content: bytes | None = None,
    error: tuple[str, str] | None = None,
) -> bool:
    """Take this minute of this batch name, with the spec's content; False where it is taken."""
    digest = None if content is None else keep(tx, content)
    over = state is not RunState.WAITING
    made = (
        insert_ignoring(tx, t.occurrences)
        .values(
            schedule=definition.name,
            batch_name=definition.batch_name,
            label=label,
            nominal_at=nominal_at,
            kind=kind.value,
            queued=queued,
            state=state.value,
            spec=definition.spec,
            spec_digest=digest,
            budget_nanos=definition.budget_nanos,
            error_code=error[0] if error else None,
            error_message=error[1] if error else None,
            created_at=tx.now,
            ended_at=tx.now if over else None,
        )
        .returning(_o.id)
    )
    return tx.conn.execute(made).scalar_one_or_none() is not None


def keep(tx: Tx, content: bytes) -> str:
    """Store what a spec says, once; returns its digest."""
    digest = hashlib.sha256(content).hexdigest()
    kept = insert_ignoring(tx, t.spec_files).values(digest=digest, content=zlib.compress(content))
    tx.conn.execute(kept)
    return digest


def content(tx: Tx, digest: str) -> bytes:
    query = select(t.spec_files.c.content).where(t.spec_files.c.digest == digest)
    return zlib.decompress(tx.conn.execute(query).scalar_one())


def find(tx: Tx, batch_name: str, label: str) -> Run | None:
    query = select(*_FIELDS).where(_o.batch_name == batch_name, _o.label == label)
    row = tx.conn.execute(query).one_or_none()
    return None if row is None else _run(row)


def waiting(tx: Tx) -> list[Run]:
    """Runs whose batch is to be made, earliest first; those of paused schedules rest."""
    s = t.schedules.c
    query = (
        select(*_FIELDS)
        .join(t.schedules, s.name == _o.schedule, isouter=True)
        .where(
            _OPEN,
            _o.state == RunState.WAITING.value,
            s.paused_at.is_(None) | (_o.kind == Kind.TRIGGERED.value),
        )
        .order_by(_o.nominal_at, _o.id)
    )
    return [_run(row) for row in tx.conn.execute(query)]


def open_runs(tx: Tx, schedule: str, *, before: int | None = None) -> list[Run]:
    """Runs that are not at their end, of nominal times before `before` if that is given."""
    query = select(*_FIELDS).where(_OPEN, _o.schedule == schedule)
    if before is not None:
        query = query.where(_o.nominal_at < before)
    return [_run(row) for row in tx.conn.execute(query.order_by(_o.nominal_at))]


def latest(tx: Tx, schedule: str, limit: int) -> list[Run]:
    """The last runs, newest first."""
    query = select(*_FIELDS).where(_o.schedule == schedule)
    query = query.order_by(_o.nominal_at.desc(), _o.id.desc()).limit(limit)
    return [_run(row) for row in tx.conn.execute(query)]


def made(tx: Tx, run: Run, batch_id: int) -> bool:
    """Its batch is published; False where that is known already."""
    states = (RunState.WAITING.value, RunState.DROPPED.value)
    statement = update(t.occurrences).where(_o.id == run.id, _o.state.in_(states))
    values = {"state": RunState.MADE.value, "batch_id": batch_id, "ended_at": None}
    return bool(tx.conn.execute(statement.values(values)).rowcount)


def end(tx: Tx, run: Run, state: RunState, error: tuple[str, str] | None = None) -> bool:
    """Bring a run from the state it was read in to its end; False where it has moved since."""
    statement = update(t.occurrences).where(_o.id == run.id, _o.state == run.state.value)
    values: dict[str, object] = {"state": state.value, "ended_at": tx.now}
    if error is not None:
        values |= {"error_code": error[0], "error_message": error[1]}
    return bool(tx.conn.execute(statement.values(values)).rowcount)


def drop_waiting(tx: Tx, schedule: str) -> int:
    """Runs that will not be made: their schedule is gone."""
    statement = update(t.occurrences).where(
        _o.schedule == schedule, _o.state == RunState.WAITING.value
    )
    values = {"state": RunState.DROPPED.value, "ended_at": tx.now}
    return tx.conn.execute(statement.values(values)).rowcount


def ended_batches(tx: Tx) -> list[Run]:
    """Runs whose batch has come to its end, and of which that is not written yet."""
    b = t.batches.c
    query = (
        select(*_FIELDS)
        .join(t.batches, b.id == _o.batch_id)
        .where(_OPEN, _o.state == RunState.MADE.value, b.finished_at.is_not(None))
        .order_by(_o.nominal_at)
    )
    return [_run(row) for row in tx.conn.execute(query)]
