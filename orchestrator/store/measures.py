"""What is measured for whoever watches a fleet. Read only.

Nothing here reads finished items or purchases: what they came to is kept in the batches' sums and
in the counts by state. What grows with what is under way is named so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, case, exists, func, or_, select

from orchestrator.domain.batch import Wanted
from orchestrator.domain.states import IN_FLIGHT, State
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch, get
from orchestrator.store.downloads import Saving
from orchestrator.store.engine import Tx
from orchestrator.store.workers import ALIVE_MS

_B, _C, _R, _S, _O = (
    t.batches.c,
    t.item_counts.c,
    t.revisions.c,
    t.submissions.c,
    t.outputs.c,
)
_IN_FLIGHT = t.said_of("submissions", t.IN_FLIGHT)
_POLLED = t.said_of("submissions", t.POLLED)
_PUBLISHED = _B.published_at.is_not(None)


class Money(NamedTuple):
    """Nano-dollars."""

    actual: int
    assumed: int
    estimated: int
    held: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many wait, and since when (ms) the one that waits longest does; None where none does."""

    number: int
    oldest: int | None


def shown(tx: Tx, open_most: int, finished_most: int) -> list[Batch]:
    """The newest open batches, and of the newest of all those that are finished."""
    ids = select(_B.id).where(_PUBLISHED).order_by(_B.id.desc())
    found = set(tx.conn.execute(ids.where(_B.finished_at.is_(None)).limit(open_most)).scalars())
    newest = ids.add_columns(_B.finished_at).limit(finished_most)
    found |= {row.id for row in tx.conn.execute(newest) if row.finished_at is not None}
    return [get(tx, batch_id) for batch_id in sorted(found)]


def open_batches(tx: Tx) -> int:
    query = select(func.count()).select_from(t.batches).where(_PUBLISHED, _B.finished_at.is_(None))
    return int(tx.conn.execute(query).scalar_one())


def counts(tx: Tx, batch_ids: Collection[int]) -> dict[int, dict[State, int]]:
    """Batch -> state -> items."""
    query = (
        select(_R.batch_id, _C.state, func.sum(_C.number))
        .join(t.revisions, _R.id == _C.revision_id)
        .where(_R.batch_id.in_(batch_ids), _R.state == "published")
        .group_by(_R.batch_id, _C.state)
    )
    found: dict[int, dict[State, int]] = {batch_id: {} for batch_id in batch_ids}
    for batch_id, state, number in tx.conn.execute(query):
        found[batch_id][State(state)] = int(number)
    return found


def other_counts(tx: Tx, batch_ids: Collection[int]) -> dict[State, int]:
    """State -> items of all other batches; reads a few rows for each."""
    query = (
        select(_C.state, func.sum(_C.number))
        .join(t.revisions, _R.id == _C.revision_id)
        .where(_R.batch_id.not_in(batch_ids), _R.state == "published")
        .group_by(_C.state)
    )
    return {State(state): int(number) for state, number in tx.conn.execute(query)}


def other_money(tx: Tx, batch_ids: Collection[int]) -> Money:
    """What all other batches came to; reads one row for each."""
    sums = [func.coalesce(func.sum(_B[f"{name}_nanos"]), 0) for name in Money._fields]
    row = tx.conn.execute(select(*sums).where(_B.id.not_in(batch_ids))).one()
    return Money(*(int(value) for value in row))


def waiting(tx: Tx) -> dict[int, dict[State, dict[str, int]]]:
    """Batch -> state -> code -> purchases that need a person."""
    query = (
        select(_S.batch_id, _S.state, _S.needs_person, func.count())
        .where(_S.needs_person.is_not(None), _S.state.in_([*IN_FLIGHT, State.PENDING]))
        .group_by(_S.batch_id, _S.state, _S.needs_person)
    )
    found: dict[int, dict[State, dict[str, int]]] = {}
    for batch_id, state, code, number in tx.conn.execute(query):
        found.setdefault(batch_id, {}).setdefault(State(state), {})[code] = number
    return found


class InFlight(NamedTuple):
    """Purchases of one account in one state; `held` in nano-dollars, `oldest` when first sent."""

    account: str
    state: State
    number: int
    held: int
    oldest: int | None


def in_flight(tx: Tx) -> list[InFlight]:
    """What may be running at the provider; reads each such purchase."""
    query = (
        select(
            _S.account, _S.state, func.count(), func.sum(_S.hold_nanos), func.min(_S.first_sent_at)
        )
        .where(_IN_FLIGHT)
        .group_by(_S.account, _S.state)
    )
    return [
        InFlight(account, State(state), number, int(held), oldest)
        for account, state, number, held, oldest in tx.conn.execute(query)
    ]


def due_polls(tx: Tx) -> Backlog:
    """Tasks that should have been asked about by now, and that nobody is asking about."""
    free = or_(_S.lease_until.is_(None), _S.lease_until <= tx.now)
    query = select(func.count(), func.min(_S.due_at)).where(_POLLED, _S.due_at <= tx.now, free)
    number, oldest = tx.conn.execute(query).one()
    return Backlog(number, oldest)


def rows_to_send(tx: Tx) -> int:
    """Rows that nothing but a worker is wanting for: of open batches that are not stopped."""
    query = (
        select(func.coalesce(func.sum(_C.number), 0))
        .join(t.revisions, _R.id == _C.revision_id)
        .join(t.batches, _B.id == _R.batch_id)
        .where(
            _C.state.in_((State.PENDING, State.UNKNOWN)),
            _R.state == "published",
            _B.finished_at.is_(None),
            _B.wanted == Wanted.OPEN,
            _B.stop_code.is_(None),
        )
    )
    return int(tx.conn.execute(query).scalar_one())


def unstarted_chunks(tx: Tx) -> int:
    c = t.chunks.c
    query = select(func.count()).select_from(t.chunks).where(c.expires_at > tx.now)
    return int(tx.conn.execute(query).scalar_one())


class ClosedGate(NamedTuple):
    """`stands`: it does not open by time alone."""

    provider: str
    account: str
    model: str
    reason: str
    closed_at: int
    stands: bool


def closed_gates(tx: Tx) -> list[ClosedGate]:
    """Every gate that is closed now, whoever's."""
    g = t.gates.c
    query = select(g.provider, g.account, g.model, g.reason, g.closed_at, g.until).where(
        g.opened_at.is_(None), or_(g.until.is_(None), g.until > tx.now)
    )
    return [ClosedGate(*row[:5], row.until is None) for row in tx.conn.execute(query)]


def living_processes(tx: Tx) -> dict[bool, int]:
    """Whether they buy -> worker processes that gave a sign of life lately."""
    w = t.workers.c
    query = select(w.submits, func.sum(w.processes)).where(w.seen_at > tx.now - ALIVE_MS)
    rows = tx.conn.execute(query.group_by(w.submits))
    return {False: 0, True: 0} | {bool(submits): int(number) for submits, number in rows}


class Url(NamedTuple):
    """A video that no target has; `seen_at` in milliseconds."""

    url: str
    seen_at: int


URLS_LIVE_MS = 8 * 86_400_000
"""No object store signs a URL for longer than a week."""


def unsaved_urls(tx: Tx, newest: int) -> list[Url]:
    """Of the newest videos, those that nobody has saved."""
    d = t.downloads.c
    looked_at = (
        select(_O.submission_id, _O.ordinal, _O.url, _O.seen_at)
        .where(_O.seen_at > tx.now - URLS_LIVE_MS)
        .order_by(_O.seen_at.desc(), _O.submission_id.desc(), _O.ordinal.desc())
        .limit(newest)
        .subquery()
    )
    saved = exists().where(
        and_(
            d.submission_id == looked_at.c.submission_id,
            d.ordinal == looked_at.c.ordinal,
            d.state != Saving.CLAIMED,
        )
    )
    query = select(looked_at.c.url, looked_at.c.seen_at).where(~saved)
    return [Url(*row) for row in tx.conn.execute(query)]


class Timetabled(NamedTuple):
    """A schedule; `next_at` in milliseconds."""

    name: str
    missed: int
    failures: int
    paused: bool
    next_at: int | None


def schedules(tx: Tx, most: int) -> list[Timetabled]:
    s = t.schedules.c
    paused = case((s.paused_at.is_(None), 0), else_=1)
    query = select(s.name, s.missed, s.failures, paused, s.next_at).order_by(s.id.desc())
    rows = tx.conn.execute(query.limit(most))
    return [Timetabled(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows]


def undelivered_events(tx: Tx, newer_than: int) -> Backlog:
    o = t.outbox.c
    query = select(func.count(), func.min(o.created_at)).where(
        o.delivered_at.is_(None), o.created_at > newer_than
    )
    number, oldest = tx.conn.execute(query).one()
    return Backlog(number, oldest)


def latenesses(tx: Tx) -> list[tuple[str, str, str]]:
    """(provider, price class, how late its ends were noticed, as JSON)."""
    k = t.sketches.c
    rows = tx.conn.execute(select(k.provider, k.price_class, k.late_json))
    return [(provider, name, text) for provider, name, text in rows]
