"""Taking a spec in: staged in short transactions, published in one small one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Select,
    and_,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.sql import ColumnElement

from orchestrator.domain.states import Event, State
from orchestrator.store import batches, counting, history, inputs, reuse, sqlite
from orchestrator.store import tables as t
from orchestrator.store.archive import NOTHING
from orchestrator.store.engine import Tx
from orchestrator.store.history import Entry
from orchestrator.store.inputs import NewInput
from orchestrator.store.many import insert_many

STAGING, PUBLISHED, ABANDONED = "staging", "published", "abandoned"
INVALID_CODE = "invalid_row"
LOCK_MS = 30_000
GROUP = 2000
"""Rows to a transaction that adds or drops: running batches keep recording beside it."""


@dataclass(frozen=True, slots=True)
class Staged:
    """One row of a spec on its way into the store."""

    row_key: str
    digest: str
    model: str
    price_class: str
    input_json: str
    source: str
    invalid: str | None = None
    """Why the row cannot be sent; it is carried along to be told of."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a reading of a spec differs from the batch as it is."""

    added: int
    known: int
    changed: int
    changed_sent: int
    removed: int
    removed_pending: int
    revived: int
    invalid: int
    reused: int
    price_classes: dict[str, int]
    """What publishing would add to send: price class -> number of items."""

    @property
    def to_send(self) -> int:
        return sum(self.price_classes.values())


def lock(tx: Tx, batch_id: int, token: str) -> bool:
    """Take or renew the right to change the batch's rows; False while another has it."""
    c = t.batches.c
    free = or_(c.intake_token.is_(None), c.intake_token == token, c.intake_until < tx.now)
    statement = update(t.batches).where(c.id == batch_id, free)
    values = {"intake_token": token, "intake_until": tx.now + LOCK_MS}
    return bool(tx.conn.execute(statement.values(values)).rowcount)


def holds(tx: Tx, batch_id: int, token: str, revision_id: int) -> bool:
    """Renew that right for a reading under way; False once another has swept it away."""
    query = select(t.revisions.c.state).where(t.revisions.c.id == revision_id)
    return lock(tx, batch_id, token) and tx.conn.execute(query).scalar() == STAGING


def unlock(tx: Tx, batch_id: int, token: str) -> None:
    tx.conn.execute(
        update(t.batches)
        .where(t.batches.c.id == batch_id, t.batches.c.intake_token == token)
        .values(intake_token=None, intake_until=None)
    )


def abandoned(tx: Tx, *, since: int) -> list[int]:
    """Batches with a reading that nobody has been at since."""
    b, r = t.batches.c, t.revisions.c
    query = select(r.batch_id).distinct().join(t.batches, b.id == r.batch_id)
    quiet = or_(b.intake_until.is_(None), b.intake_until < since)
    return list(tx.conn.execute(query.where(r.state == STAGING, quiet)).scalars())


def sweep_some(tx: Tx, batch_id: int, most: int) -> int:
    """Drop up to so many rows of readings that never got published; how many there were."""
    ids = list(tx.conn.execute(_staged(batch_id).limit(most)).scalars())
    if ids:
        _drop(tx, select(t.items.c.id).where(t.items.c.id.in_(ids)))
    return len(ids)


def sweep(tx: Tx, batch_id: int) -> None:
    """Drop the rows of readings that never got published.

    The readings themselves stay: rows that they saw keep their ids, so no other may get these.
    """
    _drop(tx, _staged(batch_id))
    tx.conn.execute(update(t.items).where(*_edited(batch_id)).values(seen_source=None))
    tx.conn.execute(update(t.revisions).where(*_unpublished(batch_id)).values(state=ABANDONED))


def _unpublished(batch_id: int) -> tuple[ColumnElement[bool], ...]:
    return t.revisions.c.batch_id == batch_id, t.revisions.c.state == STAGING


def _staged(batch_id: int) -> Select[tuple[int]]:
    """The ids of rows of readings that are not published."""
    readings = select(t.revisions.c.id).where(*_unpublished(batch_id))
    return select(t.items.c.id).where(t.items.c.revision_id.in_(readings))


def _drop(tx: Tx, ids: Select[tuple[int]]) -> None:
    reuse.forget(tx, ids)
    tx.conn.execute(delete(t.items).where(t.items.c.id.in_(ids)))


def _edited(batch_id: int) -> tuple[ColumnElement[bool], ...]:
    """Rows of which a reading says something else than what is kept of their own columns."""
    return t.items.c.batch_id == batch_id, t.said_of("items", t.EDITED)


def forget_unpublished(tx: Tx, batch_id: int) -> None:
    """Remove a batch of which nothing was ever published."""
    if not _is_first(tx, batch_id):
        return
    tx.conn.execute(delete(t.revisions).where(t.revisions.c.batch_id == batch_id))
    tx.conn.execute(delete(t.batches).where(t.batches.c.id == batch_id))


def begin(tx: Tx, batch_id: int, *, source: str, actor: str) -> int:
    """A new, unpublished revision; returns its id."""
    if not tx.locks_rows:
        sqlite.make_room(tx.conn)
    statement = insert(t.revisions).values(
        batch_id=batch_id, state=STAGING, source=source, rows=0, actor=actor, created_at=tx.now
    )
    return int(tx.conn.execute(statement.returning(t.revisions.c.id)).scalar_one())


def last_position(tx: Tx, batch_id: int) -> int:
    query = select(func.max(t.items.c.position)).where(t.items.c.batch_id == batch_id)
    return tx.conn.execute(query).scalar_one() or 0


def known(tx: Tx, batch_id: int, row_keys: Sequence[str]) -> dict[tuple[str, str], State]:
    """(row key, digest) -> state of the batch's items with these row keys."""
    c = t.items.c
    found = tx.conn.execute(
        select(c.row_key, c.digest, c.state).where(c.batch_id == batch_id, c.row_key.in_(row_keys))
    )
    return {(row_key, digest): State(state) for row_key, digest, state in found}


def stage(
    tx: Tx,
    batch_id: int,
    revision_id: int,
    rows: Sequence[Staged],
    *,
    after_position: int,
    compare: bool,
) -> int:
    """Store a group of rows under an unpublished revision; returns how many are new.

    New ones take the positions after `after_position`. `compare` False skips the look-up of known
    rows where there cannot be any.
    """
    present = known(tx, batch_id, [row.row_key for row in rows]) if compare else {}
    new = [row for row in rows if (row.row_key, row.digest) not in present]
    # An archive may have dropped the input of a row that was taken back.
    back = [row for row in rows if present.get((row.row_key, row.digest)) is State.WITHDRAWN]
    inputs.keep(
        tx, [NewInput(r.digest, r.model, r.input_json) for r in (*new, *back) if r.invalid is None]
    )
    if new:
        insert_many(
            tx,
            t.items,
            _COLUMNS,
            (
                (batch_id, revision_id, revision_id, position, *_own(row), tx.now)
                for position, row in enumerate(new, start=after_position + 1)
            ),
        )
        counting.added(tx, revision_id, Counter((_state(row), row.price_class) for row in new))
    seen = [row for row in rows if (row.row_key, row.digest) in present]
    if seen:
        tx.conn.execute(
            text(
                "UPDATE items SET seen_revision_id = :revision, seen_source = "
                # An archive has let go of what is not there.
                "CASE WHEN source IN (:source, :nothing) THEN NULL ELSE :source END "
                "WHERE batch_id = :batch AND row_key = :row_key AND digest = :digest"
            ),
            [
                {
                    "revision": revision_id,
                    "batch": batch_id,
                    "row_key": row.row_key,
                    "digest": row.digest,
                    "source": row.source,
                    "nothing": NOTHING,
                }
                for row in seen
            ],
        )
    return len(new)


_COLUMNS = (
    *("batch_id", "revision_id", "seen_revision_id", "position"),
    *("row_key", "digest", "model", "price_class", "source"),
    *("state", "error_code", "error_message", "updated_at"),
)
_PENDING, _INVALID = State.PENDING.value, State.INVALID.value


def _state(row: Staged) -> str:
    return _PENDING if row.invalid is None else _INVALID


def _own(row: Staged) -> tuple[str | None, ...]:
    """What an item has of its row, in the order of the columns."""
    code = None if row.invalid is None else INVALID_CODE
    known = (row.row_key, row.digest, row.model, row.price_class, row.source)
    return (*known, _state(row), code, row.invalid)


def _others(revision_id: int) -> ColumnElement[bool]:
    """Older items of the same batch and row key, not taken back (correlated as `older`)."""
    return and_(
        _older.c.batch_id == t.items.c.batch_id,
        _older.c.row_key == t.items.c.row_key,
        _older.c.revision_id != revision_id,
        _older.c.seen_revision_id != revision_id,
        _older.c.state.not_in((State.WITHDRAWN, State.INVALID)),
    )


_older = t.items.alias("older")


def _is_first(tx: Tx, batch_id: int) -> bool:
    """Whether nothing of the batch was ever published, so that there is nothing to compare with."""
    query = select(t.batches.c.published_at).where(t.batches.c.id == batch_id)
    return tx.conn.execute(query).scalar_one() is None


def _all_new(tx: Tx, revision_id: int, taken: ColumnElement[bool] | None) -> Difference:
    c = t.items.c
    query = select(c.price_class, c.state, func.count()).where(c.revision_id == revision_id)
    query = query if taken is None else query.where(~taken)
    found = tx.conn.execute(query.group_by(c.price_class, c.state)).all()
    prices = {name: number for name, state, number in found if state == State.PENDING}
    reused = 0
    if taken is not None:
        query = select(func.count()).where(c.revision_id == revision_id, taken)
        reused = tx.conn.execute(query).scalar_one()
    return Difference(
        added=sum(prices.values()) + reused,
        known=0,
        changed=0,
        changed_sent=0,
        removed=0,
        removed_pending=0,
        revived=0,
        invalid=sum(number for _, state, number in found if state == State.INVALID),
        reused=reused,
        price_classes=prices,
    )


def difference(tx: Tx, batch_id: int, revision_id: int, *, reuse: bool = False) -> Difference:
    """Compare the staged revision with the batch, set-wise.

    `reuse`: some of the staged rows may take an earlier result over.
    """
    c = t.items.c
    staged = and_(c.batch_id == batch_id, c.revision_id == revision_id)
    again = and_(
        c.batch_id == batch_id, c.seen_revision_id == revision_id, c.revision_id != revision_id
    )
    good = c.state != State.INVALID
    entering = or_(c.revision_id == revision_id, c.state == State.WITHDRAWN)
    changed = exists().where(_others(revision_id))
    changed_sent = exists().where(_others(revision_id), _older.c.state != State.PENDING)
    taken: ColumnElement[bool] = false()
    if reuse:
        taken = exists().where(c.revision_id == revision_id, t.submissions.c.item_id == c.id)
    if _is_first(tx, batch_id):
        return _all_new(tx, revision_id, taken if reuse else None)
    replacing = t.items.alias("replacing")
    replaced = exists().where(
        replacing.c.batch_id == batch_id,
        replacing.c.row_key == c.row_key,
        replacing.c.seen_revision_id == revision_id,
    )
    gone = and_(
        c.batch_id == batch_id,
        c.seen_revision_id != revision_id,
        c.state.not_in((State.WITHDRAWN, State.INVALID)),
        ~replaced,
    )

    def count(*where: ColumnElement[bool]) -> int:
        return int(tx.conn.execute(select(func.count()).where(*where)).scalar_one())

    prices = tx.conn.execute(
        select(c.price_class, func.count())
        .where(c.batch_id == batch_id, c.seen_revision_id == revision_id, entering)
        .where(good, ~changed_sent, ~taken)
        .group_by(c.price_class)
    )
    return Difference(
        added=count(staged, good, ~changed),
        known=count(again, good),
        changed=count(staged, good, changed),
        changed_sent=count(staged, good, changed_sent),
        removed=count(gone),
        removed_pending=count(gone, c.state == State.PENDING),
        revived=count(again, c.state == State.WITHDRAWN),
        invalid=count(c.batch_id == batch_id, c.seen_revision_id == revision_id, ~good),
        reused=count(staged, ~changed_sent, taken),
        price_classes={row.price_class: row[1] for row in prices},
    )


def forget_unwanted(tx: Tx, batch_id: int, revision_id: int) -> None:
    """Edited rows that were sent already take nothing over, unless they are to be sent again."""
    c = t.items.c
    sent = exists().where(_others(revision_id), _older.c.state != State.PENDING)
    edited = select(c.id).where(c.batch_id == batch_id, c.revision_id == revision_id, sent)
    reuse.forget(tx, edited)


def publish(
    tx: Tx,
    batch_id: int,
    revision_id: int,
    *,
    rows: int,
    columns: Iterable[str],
    prune: bool,
    resend_changed: bool,
    actor: str,
    reusing: bool = False,
) -> int:
    """Make the staged rows count; returns how many pending ones were withdrawn for them.

    Bad rows of earlier readings that this one does not have are mended, or gone: nothing was ever
    sent of them, and nothing of them stays. `reusing`: some of the staged rows may take an earlier
    result over.
    """
    withdrawn = 0
    if not _is_first(tx, batch_id):
        withdrawn = _replace(
            tx,
            batch_id,
            revision_id,
            prune=prune,
            resend_changed=resend_changed,
            reusing=reusing,
            actor=actor,
        )
    tx.conn.execute(
        update(t.revisions)
        .where(t.revisions.c.id == revision_id)
        .values(state=PUBLISHED, published_at=tx.now, rows=rows)
    )
    if reusing:
        reuse.publish(tx, revision_id, actor=actor)
    reopened = tx.conn.execute(select(batches.has_open_item(batch_id))).scalar_one()
    b = t.batches.c
    tx.conn.execute(
        update(t.batches)
        .where(b.id == batch_id)
        .values(
            columns=json.dumps(list(columns), ensure_ascii=False),
            published_at=func.coalesce(b.published_at, tx.now),
            finished_at=None if reopened else b.finished_at,
            archived_at=None if reopened else b.archived_at,
            intake_token=None,
            intake_until=None,
        )
    )
    history.append(tx, actor, [Entry(batch_id, "submitted", detail=f"{rows} rows")])
    return withdrawn


def _replace(
    tx: Tx,
    batch_id: int,
    revision_id: int,
    *,
    prune: bool,
    resend_changed: bool,
    reusing: bool,
    actor: str,
) -> int:
    """Let what is staged take the place of what was; returns how many pending ones step back."""
    c = t.items.c
    tx.conn.execute(
        delete(t.items).where(
            c.batch_id == batch_id,
            c.seen_revision_id != revision_id,
            c.state == State.INVALID,
        )
    )
    tx.conn.execute(
        update(t.items)
        .where(*_edited(batch_id), c.seen_revision_id == revision_id)
        .values(source=c.seen_source, seen_source=None)
    )
    withdrawn = _withdraw_replaced(tx, batch_id, revision_id, actor)
    if not resend_changed:
        sent = exists().where(_others(revision_id), _older.c.state != State.WITHDRAWN)
        drop = select(c.id).where(c.batch_id == batch_id, c.revision_id == revision_id, sent)
        if reusing:
            reuse.forget(tx, drop)
        tx.conn.execute(delete(t.items).where(c.id.in_(drop)))
    if prune:
        gone = and_(
            c.batch_id == batch_id, c.seen_revision_id != revision_id, c.state == State.PENDING
        )
        withdrawn += _withdraw(tx, gone, actor, "the spec no longer has it")
    sent = exists().where(_others(revision_id), _older.c.state != State.WITHDRAWN)
    back = and_(
        c.batch_id == batch_id,
        c.seen_revision_id == revision_id,
        c.state == State.WITHDRAWN,
        true() if resend_changed else ~sent,
    )
    history.append_each(
        tx, actor, back, event=Event.REVIVE, state=State.PENDING, detail="the spec has it again"
    )
    tx.conn.execute(
        update(t.items)
        .where(back)
        .values(state=State.PENDING, error_code=None, due_at=0, updated_at=tx.now)
    )
    return withdrawn


def _withdraw(tx: Tx, which: ColumnElement[bool], actor: str, why: str) -> int:
    state = State.WITHDRAWN
    history.append_each(tx, actor, which, event=Event.WITHDRAW, state=state, detail=why)
    return tx.conn.execute(
        update(t.items).where(which).values(state=state, updated_at=tx.now)
    ).rowcount


def _withdraw_replaced(tx: Tx, batch_id: int, revision_id: int, actor: str) -> int:
    """Pending versions of rows that were edited step back for the edited ones."""
    c = t.items.c
    edited = select(_older.c.row_key).where(
        _older.c.batch_id == batch_id, _older.c.seen_revision_id == revision_id
    )
    replaced = and_(
        c.batch_id == batch_id,
        c.seen_revision_id != revision_id,
        c.state == State.PENDING,
        c.row_key.in_(edited),
    )
    return _withdraw(tx, replaced, actor, "another version took its place")
