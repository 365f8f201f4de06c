"""The submissions' lives in the database: read under a lease, written through its fence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from sqlalchemy import Select, bindparam, func, insert, literal_column, or_, select, update
from sqlalchemy.sql import ColumnElement

from orchestrator.domain.states import IN_FLIGHT, State
from orchestrator.domain.submission import Decision, NeedsPerson, Submission
from orchestrator.store import batches, history
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Row, Tx, insert_ignoring
from orchestrator.store.history import Entry

_LIFE = [field.name for field in fields(Submission)]
_S = t.submissions.c
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


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim by one worker until a time; the token fences every later write."""

    token: str
    until: int
    owner: str


@dataclass(frozen=True, slots=True)
class Stored:
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


def _stored(row: Row) -> Stored:
    values = dict(row._mapping)  # noqa: SLF001 SQLAlchemy's public name for it
    life = {name: values.pop(name) for name in _LIFE}
    life["state"] = State(life["state"])
    life["needs_person"] = NeedsPerson(life["needs_person"]) if life["needs_person"] else None
    return Stored(**values, life=Submission(**life))


def _read(tx: Tx, query: Select[Row], *, lock: bool) -> list[Stored]:
    if lock and tx.locks_rows:
        query = query.with_for_update()
    return [_stored(row) for row in tx.conn.execute(query)]


def of_items(tx: Tx, item_ids: Sequence[int]) -> dict[tuple[int, int], Stored]:
    """(item id, generation) -> submission, locked."""
    found = _read(tx, select(*_COLUMNS).where(_S.item_id.in_(item_ids)), lock=True)
    return {(stored.item_id, stored.generation): stored for stored in found}


def under_lease(tx: Tx, token: str) -> list[Stored]:
    """Submissions that carry this fencing token."""
    return _read(tx, select(*_COLUMNS).where(_S.lease_token == token).order_by(_S.id), lock=False)


def still_leased(tx: Tx, token: str, ids: Iterable[int]) -> set[int]:
    """Which of these still carry the token, locked; the others lost the race."""
    query = select(_S.id).where(_S.lease_token == token, _S.id.in_(list(ids))).order_by(_S.id)
    return set(tx.conn.execute(query.with_for_update() if tx.locks_rows else query).scalars())


def create(tx: Tx, new: Stored, *, owner: str | None, speaks: bool = True) -> Stored:
    """A new submission of an item; unless told otherwise it speaks for the item from now on."""
    values = asdict(new)
    life = values.pop("life")
    del values["id"]
    statement = insert(t.submissions).values(**values, **life, lease_owner=owner)
    made = int(tx.conn.execute(statement.returning(_S.id)).scalar_one())
    if speaks:
        items = update(t.items).where(t.items.c.id == new.item_id)
        tx.conn.execute(items.values(submission_id=made))
    return replace(new, id=made)


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
            **asdict(again.life),
        )
    )


def mark_items(tx: Tx, item_ids: Sequence[int], state: State) -> None:
    if item_ids:
        tx.conn.execute(
            update(t.items).where(t.items.c.id.in_(item_ids)).values(state=state, updated_at=tx.now)
        )


_WRITE_LIFE = (
    update(t.submissions)
    .where(
        _S.id == bindparam("b_id"),
        _S.state == bindparam("b_state"),
        _S.lease_token.is_not_distinct_from(bindparam("b_token")),
    )
    .values(
        lease_token=None,
        lease_until=None,
        lease_owner=None,
        **{name: bindparam(f"v_{name}") for name in _LIFE},
    )
)
# The first success of any generation is the item's result; no other outcome speaks for the item
# but its current generation's.
_WRITE_ITEM = (
    update(t.items)
    .where(
        t.items.c.id == bindparam("b_item"),
        t.items.c.state != State.SUCCEEDED,
        or_(
            t.items.c.generation == bindparam("b_generation"),
            bindparam("v_state") == State.SUCCEEDED,
        ),
    )
    .values(
        submission_id=bindparam("v_submission"),
        state=bindparam("v_state"),
        due_at=bindparam("v_due_at"),
        error_code=bindparam("v_error_code"),
        error_message=bindparam("v_error_message"),
        updated_at=bindparam("v_updated_at"),
    )
)


def record(tx: Tx, decided: Sequence[tuple[Stored, Decision]], *, actor: str) -> None:
    """Write a group of decisions: lives, items, outputs, money and history, through the fence.

    The submissions were read and locked in this transaction, so the fence in the statement is a
    second bolt: it holds even where a caller forgot the first.
    """
    if not decided:
        return
    tx.conn.execute(
        _WRITE_LIFE,
        [_life_values(stored, decision) for stored, decision in decided],
    )
    moved = [
        (stored, decision)
        for stored, decision in decided
        if decision.event or decision.after.needs_person != stored.life.needs_person
    ]
    if moved:
        tx.conn.execute(_WRITE_ITEM, [_item_values(tx, *pair) for pair in moved])
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


def _life_values(stored: Stored, decision: Decision) -> dict[str, object]:
    """What to write, and the state and token that must still be there for it."""
    values = {f"v_{name}": value for name, value in asdict(decision.after).items()}
    fence = {"b_id": stored.id, "b_state": stored.life.state, "b_token": stored.lease_token}
    return values | fence


def _item_values(tx: Tx, stored: Stored, decision: Decision) -> dict[str, object]:
    after = decision.after
    waits = after.needs_person is not None
    return {
        "b_item": stored.item_id,
        "b_generation": stored.generation,
        "v_submission": stored.id,
        "v_state": after.state,
        "v_due_at": after.due_at if not waits else _NEVER,
        "v_error_code": after.error_code,
        "v_error_message": after.error_message,
        "v_updated_at": tx.now,
    }


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


_POLLED: ColumnElement[bool] = literal_column(f"submissions.{t.POLLED}")
"""Spelt out: SQLite does not see that parameters are what its partial index is of."""


def lease_for_polling(
    tx: Tx, *, account: str, until: int, horizon: int, limit: int, token: str, lapsed: bool = False
) -> int:
    """Claim what is due by `horizon` for a poll chunk; returns how many. Fenced like a submit.

    `lapsed`: one of those whose worker died while it asked; the others never share a chunk with it.
    """
    due = (
        select(_S.id)
        .where(
            _POLLED,
            _S.due_at <= horizon,
            _S.account == account,
            _S.lease_until.is_(None) | (_S.lease_until <= tx.now),
            _S.lapses > 0 if lapsed else _S.lapses == 0,
        )
        .order_by(_S.due_at)
        .limit(1 if lapsed else limit)
    )
    if tx.locks_rows:
        due = due.with_for_update(skip_locked=True)
    ids = list(tx.conn.execute(due).scalars())
    if ids:
        tx.conn.execute(
            update(t.submissions)
            .where(_S.id.in_(ids))
            .values(lease_token=token, lease_until=until, lease_owner=None)
        )
    return len(ids)


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


def unknown_sent_outside(tx: Tx, begin: int, end: int, limit: int = 500) -> list[Stored]:
    """Unknown ones first sent by `begin` or after `end`, of which no person knows yet, locked."""
    query = select(*_COLUMNS).where(
        literal_column(f"submissions.{t.IN_FLIGHT}"),
        _S.state == State.UNKNOWN,
        _S.needs_person.is_(None),
        (_S.first_sent_at <= begin) | (_S.first_sent_at > end),
    )
    return _read(tx, query.limit(limit), lock=True)


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
    query = select(*_COLUMNS).where(
        literal_column(f"submissions.{t.IN_FLIGHT}"),
        _S.batch_id == batch_id,
        _S.state == State.UNKNOWN,
    )
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
    query = select(c.id, c.position, c.row_key).where(c.id.in_(item_ids))
    return {item_id: (position, row_key) for item_id, position, row_key in tx.conn.execute(query)}


def urls_of(tx: Tx, submission_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Submission id -> the URLs of its videos, in the provider's order."""
    o = t.outputs.c
    query = select(o.submission_id, o.url).where(o.submission_id.in_(submission_ids))
    found: dict[int, tuple[str, ...]] = {}
    for submission_id, url in tx.conn.execute(query.order_by(o.submission_id, o.ordinal)):
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
