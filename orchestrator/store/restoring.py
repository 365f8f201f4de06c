"""Putting back into a database what a journal remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from orchestrator.domain.recovery import Told
from orchestrator.domain.states import State
from orchestrator.domain.submission import Submission
from orchestrator.store import batches, counting, history, inputs, lives
from orchestrator.store import tables as t
from orchestrator.store.archive import NOTHING
from orchestrator.store.engine import Tx
from orchestrator.store.history import Entry
from orchestrator.store.lives import Stored

_GROUP = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a submission belongs: its item, and whether the spec still has the row."""

    item_id: int
    in_spec: bool


def places(tx: Tx, batch_id: int, told: Sequence[Told]) -> dict[str, Place]:
    """Idempotency key -> the item of the same row and input; a stand-in where there is none."""
    c = t.items.c
    keys = {one.row_key for one in told}
    query = select(c.id, c.row_key, c.digest, t.inputs.c.digest).join_from(
        t.items, t.inputs, t.inputs.c.digest == c.digest, isouter=True
    )
    found = tx.conn.execute(query.where(c.batch_id == batch_id, c.row_key.in_(keys)))
    known = {(row_key, digest): Place(i, has is not None) for i, row_key, digest, has in found}
    for one in told:
        if (one.row_key, one.digest) not in known:
            known[one.row_key, one.digest] = Place(_stand_in(tx, batch_id, one), in_spec=False)
    return {one.idempotency_key: known[one.row_key, one.digest] for one in told}


def _stand_in(tx: Tx, batch_id: int, told: Told) -> int:
    """An item for a purchase whose row the spec no longer has; without a body it is never sent."""
    r, c = t.revisions.c, t.items.c
    revision = tx.conn.execute(
        select(r.id).where(r.batch_id == batch_id, r.state == "published").order_by(r.id).limit(1)
    ).scalar_one()
    last = select(c.position).where(c.batch_id == batch_id).order_by(c.position.desc()).limit(1)
    statement = insert(t.items).values(
        batch_id=batch_id,
        revision_id=revision,
        seen_revision_id=0,
        position=(tx.conn.execute(last).scalar_one_or_none() or 0) + 1,
        row_key=told.row_key,
        digest=told.digest,
        model=told.model,
        price_class=told.price_class,
        source=NOTHING,
        state=State.SUBMITTING,
        updated_at=tx.now,
    )
    made = int(tx.conn.execute(statement.returning(c.id)).scalar_one())
    counting.added(tx, revision, {(State.SUBMITTING, told.price_class): 1})
    _withdraw_edited(tx, batch_id, told.row_key, made)
    return made


def _withdraw_edited(tx: Tx, batch_id: int, row_key: str, stand_in: int) -> None:
    """An edited row is not bought beside the version that was sent."""
    c = t.items.c
    edited = tx.conn.execute(
        update(t.items)
        .where(
            c.batch_id == batch_id,
            c.row_key == row_key,
            c.id != stand_in,
            c.state == State.PENDING,
            c.submission_id.is_(None),
        )
        .values(state=State.WITHDRAWN, updated_at=tx.now)
        .returning(c.id)
    ).scalars()
    detail = "another version of this row was sent; submit with --resend-changed buys this one too"
    entries = [
        Entry(batch_id, "withdraw", item_id, None, State.WITHDRAWN, detail)
        for item_id in edited.all()
    ]
    history.append(tx, "recover", entries)


def put_back(tx: Tx, batch_id: int, item_id: int, told: Told, life: Submission) -> Stored:
    """A submission as it was claimed, without a lease; it speaks for its item if it is the last."""
    new = Stored(
        id=0,
        batch_id=batch_id,
        item_id=item_id,
        generation=told.generation,
        idempotency_key=told.idempotency_key,
        account=told.account,
        price_class=told.price_class,
        lease_token=None,
        lease_until=None,
        life=life,
    )
    made = lives.create(tx, new)
    c = t.items.c
    tx.conn.execute(
        update(t.items)
        .where(c.id == item_id, c.generation <= told.generation, c.state != State.SUCCEEDED)
        .values(generation=told.generation, submission_id=made.id)
    )
    batches.put_back(tx, batch_id, held=life.hold_nanos, first=told.generation == 0)
    return made


def reattribute(tx: Tx, submission_id: int, account: str) -> None:
    """A journal knows that it was sent with another key since."""
    s = t.submissions.c
    tx.conn.execute(update(t.submissions).where(s.id == submission_id).values(account=account))


@dataclass(frozen=True, slots=True)
class Unsent:
    """An item without any submission, with what its key is made of."""

    item_id: int
    position: int
    row_key: str
    digest: str
    model: str
    price_class: str
    input_json: str


def unsent_items(tx: Tx, batch_id: int, after: int, limit: int) -> list[Unsent]:
    """By position: what may have been sent without a trace."""
    c = t.items.c
    i = t.inputs.c
    query = (
        select(
            *(c.id.label("item_id"), c.position, c.row_key, c.digest, c.model, c.price_class),
            *(i.input_json, i.image),
        )
        .join(t.inputs, t.inputs.c.digest == c.digest)
        .where(
            c.batch_id == batch_id,
            c.position > after,
            c.state == State.PENDING,
            c.submission_id.is_(None),
        )
        .order_by(c.position)
        .limit(limit)
    )
    found = [dict(row) for row in tx.conn.execute(query).mappings()]
    wholes = inputs.whole(tx, [(row["input_json"], row.pop("image")) for row in found])
    return [
        Unsent(**(row | {"input_json": whole})) for row, whole in zip(found, wholes, strict=True)
    ]


def register_journal(tx: Tx, name: str, host: str) -> None:
    """Note a journal file before anything is written to it."""
    epoch = select(t.lineage.c.epoch).scalar_subquery()
    tx.conn.execute(insert(t.journals).values(name=name, host=host, opened_at=tx.now, epoch=epoch))


def replace_journals(tx: Tx, old: Sequence[str], new: Sequence[str], host: str) -> None:
    """What was in the old files is in the new ones; all of it is known if all of theirs was."""
    j = t.journals.c
    known = select(func.count()).where(j.name.in_(old), j.complete_at.is_not(None))
    whole = tx.conn.execute(known).scalar_one() == len(old)
    tx.conn.execute(delete(t.journals).where(j.name.in_(old)))
    for name in new:
        register_journal(tx, name, host)
    values = {"complete_at": tx.now if whole else None}
    tx.conn.execute(update(t.journals).where(j.name.in_(new)).values(**values))


def incomplete_journals(tx: Tx, names: Sequence[str]) -> list[str]:
    """Which of these files may hold what this database does not know; unregistered ones too."""
    j = t.journals.c
    whole: set[str] = set()
    for start in range(0, len(names), _GROUP):
        group = names[start : start + _GROUP]
        query = select(j.name).where(j.name.in_(group), j.complete_at.is_not(None))
        whole.update(tx.conn.execute(query).scalars())
    return [name for name in names if name not in whole]


def registered_journals(tx: Tx) -> dict[str, tuple[str, int]]:
    """File name -> (host, opened at)."""
    j = t.journals.c
    return {
        name: (host, at) for name, host, at in tx.conn.execute(select(j.name, j.host, j.opened_at))
    }
