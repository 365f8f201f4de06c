"""Earlier successes of the same input, taken over by rows that are being staged.

A staged row that takes one over has a submission at once, which is published with it. The item and
its outputs say so only then: nobody finds them before, and a reading that is given up leaves none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Select,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from orchestrator.domain.states import Event, State
from orchestrator.domain.submission import TAKEN_OVER
from orchestrator.store import tables as t
from orchestrator.store.downloads import Saving
from orchestrator.store.engine import Row, Tx

SPARE = 3
"""Earlier successes looked at for one row, beyond the rows that want one: some may be gone."""
_S, _I, _O = t.submissions.c, t.items.c, t.outputs.c
_REUSED = t.said_of("submissions", t.REUSED)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A success of another batch. `urls`: (ordinal, URL); `lost`: no URL of it worked once."""

    submission_id: int
    digest: str
    task_id: str
    account: str
    batch: str
    row_key: str
    lost: bool
    urls: tuple[tuple[int, str], ...] = ()
    saved: tuple[tuple[int, str], ...] = ()
    """(ordinal, path) of the videos that were downloaded."""

    @property
    def source(self) -> str:
        """Which batch and row it is from, for people."""
        return f"{self.batch} row {self.row_key}"


@dataclass(frozen=True, slots=True)
class Reuse:
    """A staged row, the key that it would be bought under, and what it takes instead."""

    item_id: int
    price_class: str
    idempotency_key: str
    earlier: Earlier


@dataclass(frozen=True, slots=True)
class Reused:
    """A row of a revision that takes a result over, as the journal is told of it."""

    submission_id: int
    idempotency_key: str
    row_key: str
    model: str
    digest: str
    price_class: str
    account: str
    task_id: str
    reused_from: str
    videos: tuple[str, ...]


def earlier(
    tx: Tx, batch_id: int, provider: str, digests: Mapping[str, int]
) -> dict[str, list[Earlier]]:
    """Digest -> successes of other batches at this provider that the batch does not use yet.

    `digests`: how many rows want one of each. The newest come first.
    """
    most = max(digests.values(), default=0) + SPARE
    again = t.submissions.alias("again")
    used = exists().where(
        again.c.batch_id == batch_id,
        t.said_of("again", t.REUSED),
        again.c.task_id == _S.task_id,
    )
    rank = func.row_number().over(partition_by=_I.digest, order_by=_S.id.desc()).label("rank")
    b = t.batches.c
    ranked = (
        select(
            _S.id, _I.digest, _S.task_id, _S.account, b.name, b.label, _I.row_key,
            _I.error_code, rank,
        )
        .join_from(t.items, t.submissions, _S.id == _I.submission_id)
        .join(t.batches, b.id == _I.batch_id)
        .where(
            t.said_of("items", t.SUCCEEDED),
            _I.digest.in_(list(digests)),
            _I.batch_id != batch_id,
            b.provider == provider,
            b.archived_at.is_(None),
            _S.state == State.SUCCEEDED,
            _S.reused_from.is_(None),
            _S.task_id.is_not(None),
            ~used,
        )
        .subquery()
    )  # fmt: skip
    query = select(ranked).where(ranked.c.rank <= most).order_by(ranked.c.digest, ranked.c.rank)
    found = tx.conn.execute(query).all()
    ids = [row.id for row in found]
    urls, saved = _urls(tx, ids), _saved(tx, ids)
    by_digest: dict[str, list[Earlier]] = {}
    for row in found:
        one = _earlier(row, urls.get(row.id, ()), saved.get(row.id, ()))
        by_digest.setdefault(row.digest, []).append(one)
    return by_digest


_Numbered = tuple[tuple[int, str], ...]


def _earlier(row: Row, urls: _Numbered, saved: _Numbered) -> Earlier:
    return Earlier(
        submission_id=row.id,
        digest=row.digest,
        task_id=row.task_id,
        account=row.account,
        batch=f"{row.name}@{row.label}",
        row_key=row.row_key,
        lost=row.error_code is not None,
        urls=urls,
        saved=saved,
    )


def _urls(tx: Tx, ids: Collection[int]) -> dict[int, _Numbered]:
    query = select(_O.submission_id, _O.ordinal, _O.url).where(_O.submission_id.in_(ids))
    return _numbered(tx, query.order_by(_O.submission_id, _O.ordinal))


def _saved(tx: Tx, ids: Collection[int]) -> dict[int, _Numbered]:
    d = t.downloads.c
    path = func.rtrim(d.target, "/") + "/" + d.path
    query = select(d.submission_id, d.ordinal, path)
    return _numbered(tx, query.where(d.submission_id.in_(ids), d.state == Saving.SAVED))


def _numbered(tx: Tx, query: Select[Row]) -> dict[int, _Numbered]:
    found: dict[int, _Numbered] = {}
    rows: Sequence[Row] = tx.conn.execute(query).all()
    for row in rows:
        found[row[0]] = (*found.get(row[0], ()), (row[1], row[2]))
    return found


def staged(tx: Tx, batch_id: int, revision_id: int, row_keys: Sequence[str]) -> dict[str, int]:
    """Row key -> item, of the rows with these keys that the revision brought in."""
    query = select(_I.id, _I.row_key).where(
        _I.batch_id == batch_id, _I.revision_id == revision_id, _I.row_key.in_(row_keys)
    )
    return {row.row_key: row.id for row in tx.conn.execute(query)}


def put(tx: Tx, batch_id: int, wanted: Sequence[Reuse]) -> None:
    """Give staged rows what they take over."""
    life = TAKEN_OVER._asdict()
    rows = [
        life
        | {
            "batch_id": batch_id,
            "item_id": one.item_id,
            "generation": 0,
            "idempotency_key": one.idempotency_key,
            "account": one.earlier.account,
            "price_class": one.price_class,
            "reused_source": one.earlier.submission_id,
            "task_id": one.earlier.task_id,
            "reused_from": one.earlier.source,
        }
        for one in wanted
    ]
    if rows:
        tx.conn.execute(insert(t.submissions), rows)


def taken(tx: Tx, revision_id: int, after: int, limit: int) -> list[Reused]:
    """Rows of the revision that take a result over, in the order of their submissions' ids."""
    query = (
        select(
            _S.id.label("submission_id"), _S.idempotency_key, _I.row_key, _I.model, _I.digest,
            _I.price_class, _S.account, _S.task_id, _S.reused_from, _S.reused_source,
        )
        .join_from(t.items, t.submissions, _S.item_id == _I.id)
        .where(_I.revision_id == revision_id, _REUSED, _S.id > after)
        .order_by(_S.id)
        .limit(limit)
    )  # fmt: skip
    rows = [dict(row) for row in tx.conn.execute(query).mappings()]
    sources = [row.pop("reused_source") for row in rows]
    urls = _urls(tx, set(sources))
    return [
        Reused(**row, videos=tuple(url for _, url in urls.get(source, ())))
        for row, source in zip(rows, sources, strict=True)
    ]


def forget(tx: Tx, items: Select[Row]) -> None:
    """Staged rows that will not be published take nothing over."""
    tx.conn.execute(delete(t.submissions).where(_S.item_id.in_(items)))


def publish(tx: Tx, revision_id: int, *, actor: str) -> None:
    """What was taken over is the rows' result from now on."""
    own = _S.item_id == _I.id
    speaks = select(_S.id).where(own, _REUSED).scalar_subquery()
    mine = (_I.revision_id == revision_id, _I.state == State.PENDING)
    tx.conn.execute(
        update(t.items)
        .where(*mine, exists().where(own, _REUSED))
        .values(state=State.SUCCEEDED, submission_id=speaks, updated_at=tx.now)
    )
    rows = select(_S.id, _O.ordinal, _O.url, literal(tx.now)).join_from(
        t.items, t.submissions, _S.id == _I.submission_id
    )
    videos = rows.join(t.outputs, _O.submission_id == _S.reused_source)
    of_revision = (_I.revision_id == revision_id, _REUSED)
    names = ["submission_id", "ordinal", "url", "seen_at"]
    tx.conn.execute(insert(t.outputs).from_select(names, videos.where(*of_revision)))
    happened = select(
        *(literal(tx.now), _I.batch_id, _I.id, _S.id, literal(actor), literal(str(Event.REUSE))),
        *(_I.state, literal("the result of ") + _S.reused_from),
    ).join_from(t.items, t.submissions, _S.id == _I.submission_id)
    names = ["at", "batch_id", "item_id", "submission_id", "actor", "event", "state", "detail"]
    tx.conn.execute(insert(t.history).from_select(names, happened.where(*of_revision)))


def count(tx: Tx, batch_id: int) -> int:
    """Rows of a batch that took an earlier result over."""
    # Each has a task id. Saying so leads SQLite to the index of just these.
    these = (_S.batch_id == batch_id, _REUSED, _S.task_id > "")
    query = select(func.count()).select_from(t.submissions).where(*these)
    return int(tx.conn.execute(query).scalar_one())
