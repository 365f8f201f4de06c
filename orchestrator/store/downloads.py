"""Where videos were saved: a claimed name for each, then its size and digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_, update

from orchestrator.domain.states import State
from orchestrator.store import history
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.history import Entry
from orchestrator.store.many import insert_ignoring


class Saving(StrEnum):
    """How far a video's saving is; stored."""

    CLAIMED = "claimed"
    SAVED = "saved"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Video:
    """One video of an item's result; `ordinal` from 0, `seen_at` in milliseconds."""

    batch_id: int
    item_id: int
    submission_id: int
    ordinal: int
    url: str
    seen_at: int
    task_id: str | None
    account: str
    position: int
    row_key: str
    generation: int
    source: dict[str, str]

    @property
    def key(self) -> tuple[int, int]:
        return self.submission_id, self.ordinal


@dataclass(frozen=True, slots=True)
class Place:
    """A video's place in a target; size in bytes, None until it is saved."""

    submission_id: int
    ordinal: int
    path: str
    size: int | None
    sha256: str | None


Cursor = tuple[int, int, int]
"""(seen_at, submission id, ordinal) of the last video looked at."""
START: Cursor = (0, 0, 0)
_LOST_CODE = "output_lost"
_O, _D = t.outputs.c, t.downloads.c


def unsaved(tx: Tx, batch_id: int, target: str, after: Cursor, limit: int) -> list[Video]:
    """Videos of a batch's results that the target has neither saved nor lost, oldest first."""
    i, s = t.items.c, t.submissions.c
    here = and_(
        _D.target == target,
        _D.submission_id == _O.submission_id,
        _D.ordinal == _O.ordinal,
        _D.state != Saving.CLAIMED,
    )
    query = (
        select(
            s.batch_id,
            i.id.label("item_id"),
            _O.submission_id,
            _O.ordinal,
            _O.url,
            _O.seen_at,
            s.task_id,
            s.account,
            i.position,
            i.row_key,
            s.generation,
            i.source,
        )
        .join_from(t.outputs, t.submissions, s.id == _O.submission_id)
        .join(t.items, i.submission_id == s.id)
        .join(t.downloads, here, isouter=True)
        .where(
            tuple_(_O.seen_at, _O.submission_id, _O.ordinal) > after,
            s.batch_id == batch_id,
            i.state == State.SUCCEEDED,
            _D.target.is_(None),
        )
        .order_by(_O.seen_at, _O.submission_id, _O.ordinal)
        .limit(limit)
    )
    return [_video(row) for row in tx.conn.execute(query)]


def _video(row: Row) -> Video:
    values = dict(row._mapping)  # noqa: SLF001 SQLAlchemy's public name for it
    return Video(**values | {"source": json.loads(row.source)})


def claim(tx: Tx, target: str, video: Video, path: str, folded: str) -> Place | None:
    """The place of a video, under this path if it has none yet; None where another has the path."""
    statement = insert_ignoring(tx, t.downloads).values(
        target=target,
        submission_id=video.submission_id,
        ordinal=video.ordinal,
        batch_id=video.batch_id,
        path=path,
        folded=folded,
        state=Saving.CLAIMED,
        changed_at=tx.now,
    )
    tx.conn.execute(statement)
    query = _places().where(_here(target, video.key))
    found = tx.conn.execute(query).one_or_none()
    return None if found is None else Place(**found._mapping)  # noqa: SLF001 its public name


def unclaim(tx: Tx, target: str, key: tuple[int, int]) -> None:
    """Give up a claimed name, for want of a free file under it."""
    tx.conn.execute(t.downloads.delete().where(_here(target, key), _D.state == Saving.CLAIMED))


def save(tx: Tx, target: str, video: Video, *, size: int, sha256: str) -> None:
    """The whole file is on disk; an item that was said to have lost its video has not."""
    statement = update(t.downloads).where(_here(target, video.key))
    values = {"state": Saving.SAVED, "size": size, "sha256": sha256, "changed_at": tx.now}
    tx.conn.execute(statement.values(values))
    tx.conn.execute(
        update(t.items)
        .where(t.items.c.id == video.item_id, t.items.c.error_code == _LOST_CODE)
        .values(error_code=None, error_message=None)
    )


def forget(tx: Tx, target: str, keys: Sequence[tuple[int, int]]) -> None:
    """Files that are gone: to be fetched again under the same names."""
    for key in keys:
        statement = update(t.downloads).where(_here(target, key))
        tx.conn.execute(statement.values(state=Saving.CLAIMED, changed_at=tx.now))


def forget_lost(tx: Tx, batch_id: int, target: str) -> None:
    """What could not be had is tried again."""
    statement = update(t.downloads).where(
        _D.batch_id == batch_id, _D.target == target, _D.state == Saving.LOST
    )
    tx.conn.execute(statement.values(state=Saving.CLAIMED, changed_at=tx.now))


def lose(tx: Tx, target: str, video: Video, *, actor: str, reason: str) -> None:
    """No URL of a video works any more; its item says so, and what it cost stays."""
    statement = update(t.downloads).where(_here(target, video.key))
    tx.conn.execute(statement.values(state=Saving.LOST, changed_at=tx.now))
    changed = tx.conn.execute(
        update(t.items)
        .where(t.items.c.id == video.item_id, t.items.c.state == State.SUCCEEDED)
        .values(error_code=_LOST_CODE, error_message=f"the video cannot be had: {reason}")
    ).rowcount
    if changed:
        entry = Entry(video.batch_id, _LOST_CODE, video.item_id, video.submission_id, detail=reason)
        history.append(tx, actor, [entry])


def refresh(tx: Tx, submission_id: int, urls: Sequence[str]) -> None:
    """URLs that the provider gave in place of those that died."""
    for ordinal, url in enumerate(urls):
        tx.conn.execute(
            update(t.outputs)
            .where(_O.submission_id == submission_id, _O.ordinal == ordinal)
            .values(url=url)
        )


def lost(tx: Tx, batch_id: int, target: str) -> int:
    """How many videos of a batch could not be had for this target."""
    query = select(func.count()).where(
        _D.batch_id == batch_id, _D.target == target, _D.state == Saving.LOST
    )
    return int(tx.conn.execute(query).scalar_one())


def saved(tx: Tx, batch_id: int, target: str, after: tuple[int, int], limit: int) -> list[Place]:
    """What a target has of a batch, in the order of (submission id, ordinal)."""
    query = _places().where(
        _D.batch_id == batch_id,
        _D.target == target,
        _D.state == Saving.SAVED,
        tuple_(_D.submission_id, _D.ordinal) > after,
    )
    ordered = query.order_by(_D.submission_id, _D.ordinal).limit(limit)
    return [Place(**row._mapping) for row in tx.conn.execute(ordered)]  # noqa: SLF001 its public name


def paths_of(tx: Tx, submission_ids: Sequence[int]) -> dict[int, str]:
    """Submission id -> where its first video was saved last."""
    query = (
        select(_D.submission_id, _D.target, _D.path)
        .where(_D.submission_id.in_(submission_ids), _D.ordinal == 0, _D.state == Saving.SAVED)
        .order_by(_D.changed_at)
    )
    return {
        submission_id: f"{target.rstrip('/')}/{path}"
        for submission_id, target, path in tx.conn.execute(query)
    }


def _places() -> Select[Row]:
    return select(*[_D[name] for name in Place.__dataclass_fields__])


def _here(target: str, key: tuple[int, int]) -> ColumnElement[bool]:
    return and_(_D.target == target, _D.submission_id == key[0], _D.ordinal == key[1])
