"""What a person does to a batch: pause, resume, cancel, retry. All of it set-wise."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, exists, or_, select, update

from orchestrator.domain.batch import Wanted
from orchestrator.domain.states import Event, State
from orchestrator.store import history
from orchestrator.store import tables as t
from orchestrator.store.batches import has_open_item
from orchestrator.store.engine import Tx
from orchestrator.store.history import Entry

CANCELLED_CODE = "cancelled_before_sending"
"""The error code of items that a cancel took back; only these come back with a resume."""
_HAS_INPUT = exists().where(t.inputs.c.digest == t.items.c.digest)
"""What it would be sent with: an archive drops it in the end."""
_RETRYABLE = and_(t.said_of("items", t.ENDED_BADLY), t.items.c.state != State.INVALID, _HAS_INPUT)
"""Its first part spelt out, as the index of just these is."""


def want(tx: Tx, batch_id: int, wanted: Wanted, *, actor: str, detail: str = "") -> None:
    """Note what a person wants of the batch, whose row is locked in this transaction."""
    tx.conn.execute(update(t.batches).where(t.batches.c.id == batch_id).values(wanted=wanted))
    history.append(tx, actor, [Entry(batch_id, f"wanted {wanted}", detail=detail or None)])


def want_as_of(
    tx: Tx, batch_id: int, wanted: Wanted, *, budget_nanos: int | None, at: int, actor: str
) -> bool:
    """A person's word of that time, unless a later one is known; the batch's row is locked."""
    h = t.history.c
    later = exists().where(h.batch_id == batch_id, h.event.like("wanted %"), h.at >= at)
    if tx.conn.execute(select(later)).scalar_one():
        return False
    want(tx, batch_id, wanted, actor=actor, detail="the journal knows it")
    b = t.batches.c
    tx.conn.execute(update(t.batches).where(b.id == batch_id).values(budget_nanos=budget_nanos))
    if wanted is Wanted.CANCELLED:
        withdraw_unsent(tx, batch_id, actor=actor)
    elif wanted is Wanted.OPEN:
        revive_withdrawn(tx, batch_id, actor=actor)
    return True


def reopen_if_open(tx: Tx, batch_id: int) -> None:
    """A batch with an open item is not finished, whatever it was taken for."""
    b = t.batches.c
    tx.conn.execute(
        update(t.batches)
        .where(b.id == batch_id, b.finished_at.is_not(None), has_open_item(batch_id))
        .values(finished_at=None, archived_at=None)
    )


def withdraw_unsent(tx: Tx, batch_id: int, *, actor: str) -> int:
    """Take back every pending item of a cancelled batch; returns how many."""
    where = (t.items.c.batch_id == batch_id) & t.said_of("items", t.PENDING)
    history.append_each(tx, actor, where, event=Event.WITHDRAW, state=State.WITHDRAWN)
    return tx.conn.execute(
        update(t.items)
        .where(where)
        .values(state=State.WITHDRAWN, error_code=CANCELLED_CODE, updated_at=tx.now)
    ).rowcount


# Asked every second: made once, since making it takes longer than asking.
_LEFT = exists().where(t.items.c.batch_id == t.batches.c.id, t.said_of("items", t.PENDING))
_LEFT_OVER = select(t.batches.c.id).where(
    t.batches.c.finished_at.is_(None), t.batches.c.wanted == Wanted.CANCELLED, _LEFT
)


def withdraw_rest(tx: Tx, *, actor: str) -> None:
    """What came back unsent to a cancelled batch after the cancel."""
    for batch_id in tx.conn.execute(_LEFT_OVER).scalars().all():
        withdraw_unsent(tx, batch_id, actor=actor)


def revive_withdrawn(tx: Tx, batch_id: int, *, actor: str) -> int:
    """Put back what a cancel took; returns how many."""
    c = t.items.c
    where = (
        (c.batch_id == batch_id)
        & (c.state == State.WITHDRAWN)
        & (c.error_code == CANCELLED_CODE)
        & _HAS_INPUT
    )
    history.append_each(tx, actor, where, event=Event.REVIVE, state=State.PENDING)
    revived = tx.conn.execute(
        update(t.items)
        .where(where)
        .values(state=State.PENDING, error_code=None, due_at=tx.now, updated_at=tx.now)
    ).rowcount
    if revived:
        _reopen(tx, batch_id)
    return revived


def missing_rows(tx: Tx, batch_id: int, rows: Sequence[str]) -> list[str]:
    """Those of these row keys that the batch does not have."""
    c = t.items.c
    query = select(c.row_key).where(c.batch_id == batch_id, c.row_key.in_(rows))
    known = set(tx.conn.execute(query).scalars()) if rows else set()
    return [row for row in rows if row not in known]


def retryable(
    tx: Tx, batch_id: int, *, codes: Sequence[str], rows: Sequence[str], max_generations: int
) -> tuple[dict[str, list[int]], int]:
    """(price class -> item ids that may be bought anew, how many have used up their generations).

    Those that ended without success, with one of `codes` and `rows` (row keys) where any are given.
    """
    c = t.items.c
    query = (
        select(c.id, c.price_class, c.generation)
        .where(c.batch_id == batch_id, _RETRYABLE)
        .order_by(c.position)
    )
    if codes:
        query = query.where(or_(c.error_code.in_(codes), c.state.in_(codes)))
    if rows:
        query = query.where(c.row_key.in_(rows))
    found: dict[str, list[int]] = {}
    spent = 0
    for item_id, price_class, generation in tx.conn.execute(query):
        if generation + 1 >= max_generations:
            spent += 1
        else:
            found.setdefault(price_class, []).append(item_id)
    return found, spent


_GROUP = 500


def retry(tx: Tx, batch_id: int, item_ids: Sequence[int], *, actor: str) -> int:
    """A new generation for these items, where they still stand at a bad end; returns how many."""
    c = t.items.c
    retried = 0
    for start in range(0, len(item_ids), _GROUP):
        group = item_ids[start : start + _GROUP]
        where = c.id.in_(group) & (c.batch_id == batch_id) & _RETRYABLE
        history.append_each(tx, actor, where, event=Event.RETRY, state=State.PENDING)
        retried += tx.conn.execute(update(t.items).where(where).values(**_anew(tx))).rowcount
    if retried:
        _reopen(tx, batch_id)
    return retried


def _anew(tx: Tx) -> dict[str, object]:
    return {
        "state": State.PENDING,
        "generation": t.items.c.generation + 1,
        "submission_id": None,
        "due_at": tx.now,
        "error_code": None,
        "error_message": None,
        "updated_at": tx.now,
    }


def buy_again(tx: Tx, item_id: int, generation: int, *, actor: str) -> bool:
    """A new generation beside one that is not settled, as a person accepted; False if it moved."""
    c = t.items.c
    done = tx.conn.execute(
        update(t.items)
        .where(c.id == item_id, c.generation == generation, c.state != State.SUCCEEDED)
        .values(**_anew(tx))
        .returning(c.batch_id)
    ).scalar_one_or_none()
    if done is None:
        return False
    detail = "another purchase, accepting that the last may have been charged"
    history.append(tx, actor, [Entry(done, Event.RETRY, item_id, None, State.PENDING, detail)])
    _reopen(tx, done)
    return True


def _reopen(tx: Tx, batch_id: int) -> None:
    tx.conn.execute(
        update(t.batches)
        .where(t.batches.c.id == batch_id)
        .values(finished_at=None, archived_at=None)
    )
