"""The submissions' lives in the database: read under a lease, written through its fence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import (
    Select,
    bindparam,
    func,
    insert,
    select,
    update,
)

from orchestrator.domain.states import IN_FLIGHT, State
from orchestrator.domain.submission import Decision, NeedsPerson, Submission
from orchestrator.store import batches, history
from orchestrator.store import tables as t
from orchestrator.store.among import among
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Row, Tx
from orchestrator.store.history import Entry
from orchestrator.store.many import insert_ignoring, insert_many, update_many

_LIFE = Submission._fields
_S = t.submissions.c
_IDENTITY_NAMES = (
    *("batch_id", "item_id", "generation"),
    *("idempotency_key", "account", "price_class"),
)
_LEASE = ("lease_token", "lease_until", "lease_owner")
_COLUMNS = [
    _S.id,
    _S.batch_id,
    _S.item_id,
    _S.generation,
    _S.idempotency_key,
    _S.account,
    _S.price_class,
    _S.lease_token,
    _S.lease_until,
    *(_S[name] for name in _LIFE),
]


# Asked for each chunk: made once, since making them takes longer than asking.
_LEASED_NOW = _S.lease_token == bindparam("token")
_OF_ITEMS = select(*_COLUMNS).where(among(_S.item_id))
_OF_ITEMS_LOCKED = _OF_ITEMS.with_for_update()
_STILL_LEASED = select(_S.id).where(_LEASED_NOW, among(_S.id)).order_by(_S.id)
_STILL_LEASED_LOCKED = _STILL_LEASED.with_for_update()
_MADE = select(_S.item_id, _S.generation, _S.id).where(_LEASED_NOW)


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim by one worker until a time; the token fences every later write."""

    token: str
    until: int
    owner: str


class Stored(NamedTuple):
    """A submission as read: what identifies it, its lease, and its life."""

    id: int
    batch_id: int
    item_id: int
    generation: int
    idempotency_key: str
    account: str
    price_class: str
    lease_token: str | None
    lease_until: int | None
    life: Submission


_identity_of = attrgetter(*_IDENTITY_NAMES)
_WORDS = tuple(_LIFE.index(name) for name in ("state", "needs_person", "error_code"))


def _life_of(life: Submission) -> tuple[object, ...]:
    """A life's columns; plain text for its words, which no driver has to know."""
    values = list(life)
    for at in _WORDS:
        if values[at] is not None:
            values[at] = str(values[at])
    return tuple(values)


def _stored(row: Row) -> Stored:
    """What is selected as `_COLUMNS`."""
    life = Submission._make(row[-len(_LIFE) :])
    person = NeedsPerson(life.needs_person) if life.needs_person else None
    life = life._replace(state=State(life.state), needs_person=person)
    return Stored._make((*row[: -len(_LIFE)], life))


def _read(
    tx: Tx, query: Select[Row], *, lock: bool, values: Mapping[str, object] | None = None
) -> list[Stored]:
    if lock and tx.locks_rows:
        query = query.with_for_update()
    return [_stored(row) for row in tx.conn.execute(query, values)]


def of_items(tx: Tx, item_ids: Sequence[int]) -> dict[tuple[int, int], Stored]:
    """(item id, generation) -> submission, locked."""
    if not item_ids:
        return {}
    query = _OF_ITEMS_LOCKED if tx.locks_rows else _OF_ITEMS
    found = [_stored(row) for row in tx.conn.execute(query, {"ids": list(item_ids)})]
    return {(stored.item_id, stored.generation): stored for stored in found}


def under_lease(tx: Tx, token: str) -> list[Stored]:
    """Submissions that carry this fencing token."""
    return _read(tx, select(*_COLUMNS).where(_S.lease_token == token).order_by(_S.id), lock=False)


def still_leased(tx: Tx, token: str, ids: Iterable[int]) -> set[int]:
    """Which of these still carry the token, locked; the others lost the race."""
    query = _STILL_LEASED_LOCKED if tx.locks_rows else _STILL_LEASED
    return set(tx.conn.execute(query, {"token": token, "ids": list(ids)}).scalars())


def create(tx: Tx, new: Stored) -> Stored:
    """A new submission of an item, without a lease; who speaks for the item stays as it is."""
    values = {name: getattr(new, name) for name in _IDENTITY_NAMES}
    statement = insert(t.submissions).values(**values, **new.life._asdict())
    made = int(tx.conn.execute(statement.returning(_S.id)).scalar_one())
    return new._replace(id=made)


def create_leased(tx: Tx, fresh: Sequence[Stored], lease: Lease) -> list[Stored]:
    """New submissions under one lease, in few statements; in the order given."""
    if not fresh:
        return []
    shared = (lease.token, lease.until, lease.owner)
    rows = ((*_identity_of(new), *shared, *_life_of(new.life)) for new in fresh)
    insert_many(tx, t.submissions, (*_IDENTITY_NAMES, *_LEASE, *_LIFE), rows)
    found = tx.conn.execute(_MADE, {"token": lease.token})
    made = {(item_id, generation): id_ for item_id, generation, id_ in found}
    return [new._replace(id=made[new.item_id, new.generation]) for new in fresh]


def lease(tx: Tx, again: Stored, *, owner: str) -> None:
    """Claim an existing submission again, under the key it has."""
    tx.conn.execute(
        update(t.submissions)
        .where(_S.id == again.id)
        .values(
            account=again.account,
            lease_token=again.lease_token,
            lease_until=again.lease_until,
            lease_owner=owner,
            **again.life._asdict(),
        )
    )


def speak_for_items(tx: Tx, claimed: Sequence[Stored]) -> None:
    """Items that are about to be sent, and the submissions that speak for them from now on."""
    update_many(
        tx,
        t.items,
        ("state", "submission_id", "updated_at"),
        ("id",),
        [(str(State.SUBMITTING), one.id, tx.now, one.item_id) for one in claimed],
    )


_SPOKEN = ("submission_id", "state", "due_at", "error_code", "error_message", "updated_at")
_NO_SUCCESS = f"state <> '{State.SUCCEEDED}'"


def record(tx: Tx, decided: Sequence[tuple[Stored, Decision]], *, actor: str) -> None:
    """Write a group of decisions: lives, items, outputs, money and history, through the fence.

    The submissions were read and locked in this transaction, so the fence in the statement is a
    second bolt: it holds even where a caller forgot the first.
    """
    if not decided:
        return
    _write(tx, decided)
    moved = [
        (stored, decision)
        for stored, decision in decided
        if decision.event or decision.after.needs_person != stored.life.needs_person
    ]
    _speak(tx, moved)
    _add_outputs(tx, decided)
    # In one order everywhere, so that two recorders never wait for each other.
    for batch_id, change in sorted(_money(decided).items()):
        batches.add_money(tx, batch_id, **change)
    history.append(
        tx,
        actor,
        [
            Entry(
                stored.batch_id,
                decision.event or "note",
                stored.item_id,
                stored.id,
                decision.after.state,
                decision.note,
            )
            for stored, decision in moved
        ],
    )


def _fence(stored: Stored) -> tuple[object, ...]:
    """What must still be there for a write."""
    return stored.id, str(stored.life.state), stored.lease_token


def _write(tx: Tx, decided: Sequence[tuple[Stored, Decision]]) -> None:
    """The lives, each where its state and token are still as they were read; leases end."""
    rows = [
        (*(None,) * len(_LEASE), *_life_of(decision.after), *_fence(stored))
        for stored, decision in decided
    ]
    fence = ("id", "state", "lease_token")
    update_many(tx, t.submissions, (*_LEASE, *_LIFE), fence, rows)


def _speak(tx: Tx, moved: Sequence[tuple[Stored, Decision]]) -> None:
    """What the items become by it.

    The first success of any generation is the item's result; no other outcome speaks for the item
    but its current generation's.
    """
    won = [pair for pair in moved if pair[1].after.state is State.SUCCEEDED]
    rows = [_item_values(tx, *pair) for pair in won]
    update_many(tx, t.items, _SPOKEN, ("id",), rows, where=_NO_SUCCESS)
    others = [pair for pair in moved if pair[1].after.state is not State.SUCCEEDED]
    rows = [(*_item_values(tx, *pair), pair[0].generation) for pair in others]
    update_many(tx, t.items, _SPOKEN, ("id", "generation"), rows, where=_NO_SUCCESS)


def _item_values(tx: Tx, stored: Stored, decision: Decision) -> tuple[object, ...]:
    """The item's columns as in `_SPOKEN`, and its id."""
    after = decision.after
    due_at = after.due_at if after.needs_person is None else _NEVER
    words = (str(after.state), due_at, after.error_code, after.error_message, tx.now)
    return stored.id, *words, stored.item_id


_NEVER = 1 << 52
"""A due time that does not come: a person has to act first."""


def _add_outputs(tx: Tx, decided: Sequence[tuple[Stored, Decision]]) -> None:
    rows = [
        {"submission_id": stored.id, "ordinal": ordinal, "url": url, "seen_at": tx.now}
        for stored, decision in decided
        for ordinal, url in enumerate(decision.videos)
    ]
    if rows:
        tx.conn.execute(insert_ignoring(tx, t.outputs), rows)


def _money(decided: Sequence[tuple[Stored, Decision]]) -> Mapping[int, dict[str, int]]:
    """Per batch, what the decisions change in holds, estimates and costs."""
    changes: defaultdict[int, dict[str, int]] = defaultdict(
        lambda: {"held": 0, "estimated": 0, "actual": 0, "assumed": 0}
    )
    for stored, decision in decided:
        before, after = stored.life, decision.after
        change = changes[stored.batch_id]
        change["held"] += after.hold_nanos - before.hold_nanos
        change["estimated"] += (after.estimate_nanos or 0) - (before.estimate_nanos or 0)
        change["actual"] += (after.actual_nanos or 0) - (before.actual_nanos or 0)
        change["assumed"] += (after.assumed_nanos or 0) - (before.assumed_nanos or 0)
    return changes


_POLLED = t.said_of("submissions", t.POLLED)
"""Spelt out: SQLite does not see that parameters are what its partial index is of."""


def lease_for_polling(
    tx: Tx, *, account: str, until: int, horizon: int, limit: int, token: str, lapsed: bool = False
) -> int:
    """Claim what is due by `horizon` for a poll chunk; returns how many. Fenced like a submit.

    `lapsed`: one of those whose worker died while it asked; the others never share a chunk with it.
    """
    values = {"horizon": horizon, "by": account, "now": tx.now, "most": 1 if lapsed else limit}
    ids = list(tx.conn.execute(_due(lapsed=lapsed, lock=tx.locks_rows), values).scalars())
    if ids:
        tx.conn.execute(_LEASE_DUE, {"ids": ids, "token": token, "until": until})
    return len(ids)


_LEASE_DUE = (
    update(t.submissions)
    .where(among(_S.id))
    .values(lease_token=bindparam("token"), lease_until=bindparam("until"), lease_owner=None)
)


@cache
def _due(*, lapsed: bool, lock: bool) -> Select[Row]:
    query = (
        select(_S.id)
        .where(
            _POLLED,
            _S.due_at <= bindparam("horizon"),
            _S.account == bindparam("by"),
            _S.lease_until.is_(None) | (_S.lease_until <= bindparam("now")),
            _S.lapses > 0 if lapsed else _S.lapses == 0,
        )
        .order_by(_S.due_at)
        .limit(bindparam("most"))
    )
    return query.with_for_update(skip_locked=True) if lock else query


_POLL_CHUNKS = select(func.count(_S.lease_token.distinct())).where(
    _S.lease_token.is_not(None),
    _S.lease_owner.is_(None),
    _S.lease_until > bindparam("now"),
    _S.account == bindparam("by"),
)


def waiting_poll_chunks(tx: Tx, account: str) -> int:
    """How many poll chunks nobody has begun yet."""
    return int(tx.conn.execute(_POLL_CHUNKS, {"now": tx.now, "by": account}).scalar_one())


def own_poll_lease(tx: Tx, token: str, owner: str, *, until: int) -> None:
    """The worker that starts a poll chunk puts its name on the lease, so its death is seen.

    Before, the lease is short: a message that gets lost must not keep its tasks waiting long.
    """
    tx.conn.execute(
        update(t.submissions)
        .where(_S.lease_token == token)
        .values(lease_owner=owner, lease_until=until)
    )


def lapsed(tx: Tx, dead_owners: Sequence[str], limit: int = 500) -> list[Stored]:
    """Submitting ones whose lease ran out or whose owner is gone, locked."""
    gone = (_S.lease_until <= tx.now) | _S.lease_owner.in_(list(dead_owners))
    query = select(*_COLUMNS).where(_S.state == State.SUBMITTING, gone).limit(limit)
    return _read(tx, query, lock=True)


_UNKNOWN = t.said_of("submissions", t.UNKNOWN)
_SENT_OUTSIDE = select(*_COLUMNS).where(
    _UNKNOWN,
    _S.needs_person.is_(None),
    (_S.first_sent_at <= bindparam("begin")) | (_S.first_sent_at > bindparam("end")),
)


def unknown_sent_outside(tx: Tx, begin: int, end: int, limit: int = 500) -> list[Stored]:
    """Unknown ones first sent by `begin` or after `end`, of which no person knows yet, locked."""
    values = {"begin": begin, "end": end}
    return _read(tx, _SENT_OUTSIDE.limit(limit), lock=True, values=values)


def needing_person(tx: Tx, batch_id: int) -> list[Stored]:
    """Open submissions of any generation that wait for a person, locked where it is written."""
    query = select(*_COLUMNS).where(
        _S.batch_id == batch_id,
        _S.needs_person.is_not(None),
        _S.state.in_([*IN_FLIGHT, State.PENDING]),
    )
    return _read(tx, query.order_by(_S.id), lock=tx.writes)


def moving_hold(tx: Tx, batch: Batch) -> int:
    """What a batch holds for submissions that settle by themselves, in nano-dollars.

    What waits for a person may wait for ever: nothing else must wait for it.
    """
    if batch.budget_nanos is None or batch.held_nanos == 0:
        return batch.held_nanos
    waiting = select(func.coalesce(func.sum(_S.hold_nanos), 0)).where(
        _S.batch_id == batch.id, _S.needs_person.is_not(None)
    )
    return batch.held_nanos - int(tx.conn.execute(waiting).scalar_one())


def unknown_of_batch(tx: Tx, batch_id: int) -> list[Stored]:
    """Submissions whose answer nobody has."""
    query = select(*_COLUMNS).where(_UNKNOWN, _S.batch_id == batch_id)
    return _read(tx, query.order_by(_S.id), lock=tx.writes)


def by_key(tx: Tx, keys: Sequence[str]) -> dict[str, Stored]:
    """Idempotency key -> submission, locked where it is written."""
    found = _read(tx, select(*_COLUMNS).where(_S.idempotency_key.in_(keys)), lock=tx.writes)
    return {stored.idempotency_key: stored for stored in found}


def page_of_batch(tx: Tx, batch_id: int, after_id: int, limit: int) -> list[Stored]:
    """A batch's own purchases in the order of their ids, after `after_id`."""
    query = select(*_COLUMNS).where(
        _S.batch_id == batch_id, _S.id > after_id, _S.reused_from.is_(None)
    )
    return _read(tx, query.order_by(_S.id).limit(limit), lock=False)


def row_names(tx: Tx, item_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Item id -> (position, row key)."""
    c = t.items.c
    query = select(c.id, c.position, c.row_key).where(among(c.id))
    found = tx.conn.execute(query, {"ids": item_ids})
    return {item_id: (position, row_key) for item_id, position, row_key in found}


def urls_of(tx: Tx, submission_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Submission id -> the URLs of its videos, in the provider's order."""
    o = t.outputs.c
    query = select(o.submission_id, o.url).where(among(o.submission_id))
    query = query.order_by(o.submission_id, o.ordinal)
    found: dict[int, tuple[str, ...]] = {}
    for submission_id, url in tx.conn.execute(query, {"ids": submission_ids}):
        found[submission_id] = (*found.get(submission_id, ()), url)
    return found


def polled_by(tx: Tx, owners: Sequence[str]) -> list[Stored]:
    """What these workers were asking about, locked."""
    if not owners:
        return []
    query = select(*_COLUMNS).where(_S.lease_owner.in_(list(owners)), _POLLED)
    return _read(tx, query, lock=True)


def keep_events(tx: Tx, submission_id: int, raw: str) -> None:
    """The provider's events of a task that failed, as they came."""
    tx.conn.execute(update(t.submissions).where(_S.id == submission_id).values(events_json=raw))
