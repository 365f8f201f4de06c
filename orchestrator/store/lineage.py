"""What the database knows of its own past: one row, and the journals it has learned from since."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from orchestrator.domain.lineage import Identity
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.many import insert_ignoring

_ONE = 1
_L = t.lineage.c
_J = t.journals.c
# Asked by every tick and claim: made once, since making it takes longer than asking.
_CLOSED = select(_L.reason).where(_L.id == _ONE, _L.closed_at.is_not(None))


@dataclass(frozen=True, slots=True)
class Lineage:
    """`epoch` names the time since the database last went back; times in milliseconds."""

    epoch: str
    system: str
    timeline: int | None
    noticed_at: int
    closed_at: int | None
    reason: str | None

    @property
    def identity(self) -> Identity:
        return Identity(self.system, self.timeline)


@dataclass(frozen=True, slots=True)
class File:
    """A journal file that this database has not learned from in this epoch."""

    name: str
    host: str


def read(tx: Tx) -> Lineage | None:
    """None before any worker looked for the first time."""
    return _one(tx, _query())


def lock(tx: Tx, identity: Identity) -> Lineage:
    """The row, made where there is none, locked until the transaction ends."""
    tx.conn.execute(
        insert_ignoring(tx, t.lineage).values(
            id=_ONE,
            epoch=uuid.uuid4().hex,
            system=identity.system,
            timeline=identity.timeline,
            noticed_at=tx.now,
        )
    )
    query = _query()
    found = _one(tx, query.with_for_update() if tx.locks_rows else query)
    assert found is not None  # noqa: S101 it was just made
    return found


def _query() -> Select[Row]:
    return select(*(_L[name] for name in Lineage.__dataclass_fields__)).where(_L.id == _ONE)


def _one(tx: Tx, query: Select[Row]) -> Lineage | None:
    row = tx.conn.execute(query).one_or_none()
    return None if row is None else Lineage(**row._mapping)  # noqa: SLF001


def closed(tx: Tx) -> str | None:
    """Why nothing may be sent; None where it may."""
    found = tx.conn.execute(_CLOSED).one_or_none()
    return None if found is None else found.reason or ""


def close(tx: Tx, reason: str, identity: Identity | None = None) -> None:
    """Nothing is sent any more. With `identity` a new epoch begins: every journal counts anew."""
    values: dict[str, object] = {"closed_at": tx.now, "reason": reason}
    if identity is not None:
        values |= {
            "epoch": uuid.uuid4().hex,
            "noticed_at": tx.now,
            "timeline": identity.timeline,
            "system": identity.system,
        }
    tx.conn.execute(update(t.lineage).where(_L.id == _ONE).values(**values))


def note(tx: Tx, identity: Identity) -> None:
    """The server said for the first time what it is."""
    values = {"timeline": identity.timeline, "system": identity.system}
    tx.conn.execute(update(t.lineage).where(_L.id == _ONE).values(**values))


def open_again(tx: Tx, *, grace: int) -> bool:
    """Let sending go on once every journal is in and `grace` milliseconds have passed."""
    missing = select(_J.name).where(_MISSING).exists()
    opened = tx.conn.execute(
        update(t.lineage)
        .where(_L.id == _ONE, _L.closed_at <= tx.now - grace, ~missing)
        .values(closed_at=None, reason=None)
    )
    return bool(opened.rowcount)


_EPOCH = select(_L.epoch).where(_L.id == _ONE).scalar_subquery()
_WAIVED = "waived"
"""In place of an epoch: nobody waits for this file any more."""
_SETTLED = func.coalesce(_J.epoch, "").in_([_WAIVED, func.coalesce(_EPOCH, "")])
_MISSING: ColumnElement[bool] = and_(_J.complete_at.is_(None), ~_SETTLED)


def missing(tx: Tx) -> list[File]:
    """The files that sending waits for."""
    query = select(_J.name, _J.host).where(_MISSING).order_by(_J.host, _J.name)
    return [File(*row) for row in tx.conn.execute(query)]


def learned(tx: Tx, names: Sequence[str], host: str, *, over: Iterable[str] = ()) -> None:
    """The database knows what is in these files; nobody writes any more to those in `over`."""
    ended = set(over)
    for name in names:
        values = {"epoch": _EPOCH, "complete_at": tx.now if name in ended else None}
        changed = tx.conn.execute(update(t.journals).where(_J.name == name).values(**values))
        if not changed.rowcount:
            new = insert(t.journals).values(name=name, host=host, opened_at=tx.now, **values)
            tx.conn.execute(new)


def complete(tx: Tx, names: Sequence[str], *, epoch: str | None) -> None:
    """Their writer is done, and all that they say was recorded, if this is still its epoch."""
    same = select(_L.id).where(_L.id == _ONE, _L.epoch.is_not_distinct_from(epoch)).exists()
    statement = update(t.journals).where(_J.name.in_(list(names)), same)
    tx.conn.execute(statement.values(complete_at=tx.now))


def waive(tx: Tx, host: str) -> list[str]:
    """Go on without a host's journals; returns the files that are not waited for any more.

    Should the host come back, what it has is merged all the same.
    """
    statement = update(t.journals).where(_MISSING, _J.host == host)
    return list(tx.conn.execute(statement.values(epoch=_WAIVED).returning(_J.name)).scalars())


def identity(tx: Tx) -> Identity:
    """What the server says of itself; one that does not tell its system, or SQLite, is itself."""
    if not tx.locks_rows:
        return Identity("", None)
    timeline = tx.conn.execute(
        text(
            "SELECT CASE WHEN pg_is_in_recovery() THEN NULL "
            "ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END"
        )
    ).scalar_one()
    try:
        with tx.conn.begin_nested():
            query = text("SELECT CAST(system_identifier AS text) FROM pg_control_system()")
            system = str(tx.conn.execute(query).scalar_one())
    except DBAPIError:
        # Some hosted servers keep it to themselves.
        system = ""
    return Identity(system, None if timeline is None else int(timeline, 16))


def note_lost(tx: Tx, host: str, lost: dict[tuple[str, str], int]) -> None:
    """Batches (name, label) -> purchases that only this host's journal knows of."""
    c = t.lost_batches.c
    tx.conn.execute(delete(t.lost_batches).where(c.host == host))
    rows = [
        {"name": name, "label": label, "host": host, "purchases": number, "noticed_at": tx.now}
        for (name, label), number in sorted(lost.items())
    ]
    if rows:
        tx.conn.execute(insert(t.lost_batches), rows)


@dataclass(frozen=True, slots=True)
class Lost:
    """A batch that only this host's journal knows."""

    name: str
    label: str
    host: str
    purchases: int


def lost(tx: Tx) -> list[Lost]:
    c = t.lost_batches.c
    query = select(*(c[name] for name in Lost.__dataclass_fields__))
    return [Lost(**row._mapping) for row in tx.conn.execute(query.order_by(c.name, c.label))]  # noqa: SLF001


def lost_hosts(tx: Tx, name: str, label: str) -> list[str]:
    """Hosts whose journal knows purchases of a batch that this database does not know."""
    c = t.lost_batches.c
    query = select(c.host).where(c.name == name, c.label == label).order_by(c.host)
    return list(tx.conn.execute(query).scalars())


def found_again(tx: Tx, name: str, label: str, hosts: Sequence[str]) -> None:
    """The batch was rebuilt from these hosts' journals."""
    c = t.lost_batches.c
    tx.conn.execute(
        delete(t.lost_batches).where(c.name == name, c.label == label, c.host.in_(hosts))
    )
