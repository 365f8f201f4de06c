"""What people look at: counts, results, history. Read only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, cast, func, or_, select
from sqlalchemy.sql import ColumnElement

from orchestrator.domain.batch import Wanted
from orchestrator.domain.forecast import End
from orchestrator.domain.states import OPEN, State
from orchestrator.store import downloads
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx

_PAGE = 1000
_IN_FLIGHT = t.said_of("submissions", t.IN_FLIGHT)
_PUBLISHED = t.items.c.revision_id.in_(
    select(t.revisions.c.id).where(
        t.revisions.c.batch_id == t.items.c.batch_id, t.revisions.c.state == "published"
    )
)


@dataclass(frozen=True, slots=True)
class Result:
    """One item with the submission that speaks for it; money in nano-dollars.

    Its costs are the sums over all its submissions, failed ones included.
    """

    item_id: int
    position: int
    row_key: str
    state: State
    generation: int
    source: dict[str, str]
    needs_person: str | None
    task_id: str | None
    request_id: str | None
    idempotency_key: str | None
    estimate_nanos: int | None
    actual_nanos: int | None
    assumed_nanos: int | None
    video_urls: tuple[str, ...]
    video_path: str | None
    """Where its first video was saved last."""
    reused_from: str | None
    """The batch and row whose result it took."""
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of an item's history; `at` in milliseconds."""

    at: int
    actor: str
    event: str
    state: str | None
    generation: int | None
    detail: str | None


_SPEAKS = (t.submissions.c.item_id == t.items.c.id) & (
    t.submissions.c.id == t.items.c.submission_id
)
"""Told twice, so that few submissions find their items by key instead of all items theirs."""


def waiting(tx: Tx, batch_id: int) -> dict[State, dict[str, int]]:
    """Open items that need a person: state -> code -> number.

    Which states are open is asked of the few that are found: named in the query, SQLite would take
    it for a reason to look through all open items.
    """
    query = (
        select(t.items.c.state, t.submissions.c.needs_person, func.count())
        .join(t.submissions, _SPEAKS)
        .where(t.submissions.c.batch_id == batch_id, t.submissions.c.needs_person.is_not(None))
        .group_by(t.items.c.state, t.submissions.c.needs_person)
    )
    found: dict[State, dict[str, int]] = {}
    for state, code, number in tx.conn.execute(query):
        if state in OPEN:
            found.setdefault(State(state), {})[code] = number
    return found


def sent_with_other_key(tx: Tx, batch_id: int, accounts: Sequence[str]) -> dict[State, int]:
    """Open items that only an API key beside these can ask about: state -> number."""
    others = [account for account in _accounts_in_flight(tx) if account not in accounts]
    if not others:
        return {}
    s = t.submissions.c
    query = (
        select(t.items.c.state, func.count())
        .join(t.submissions, _SPEAKS)
        .where(_IN_FLIGHT, s.batch_id == batch_id, s.account.in_(others), s.needs_person.is_(None))
        .group_by(t.items.c.state)
    )
    return {State(state): number for state, number in tx.conn.execute(query)}


def _accounts_in_flight(tx: Tx) -> Iterator[str]:
    """Accounts with which anything is under way: one look into an index for each."""
    first = select(func.min(t.submissions.c.account)).where(_IN_FLIGHT)
    found = tx.conn.execute(first).scalar_one()
    while found is not None:
        yield found
        found = tx.conn.execute(first.where(t.submissions.c.account > found)).scalar_one()


def latest_ends(tx: Tx, batch_id: int, limit: int) -> list[End]:
    """The ends that came last, of submissions that the provider had accepted."""
    c = t.submissions.c
    query = (
        select(c.finished_at, c.accepted_at)
        .where(c.batch_id == batch_id, c.finished_at.is_not(None), c.accepted_at.is_not(None))
        .order_by(c.finished_at.desc())
        .limit(limit)
    )
    return [End(ended, max(0, ended - began)) for ended, began in tx.conn.execute(query)]


def youngest_accepted(tx: Tx, batch_id: int) -> int | None:
    """When the provider accepted the one that it accepted last, of those that still run."""
    c = t.submissions.c
    query = select(func.max(c.accepted_at)).where(c.batch_id == batch_id, _IN_FLIGHT)
    found: int | None = tx.conn.execute(query).scalar_one()
    return found


def waiting_to_be_sent(tx: Tx, provider: str) -> dict[str, int]:
    """Title -> rows, for each batch that has some waiting and that a person wants sent."""
    b, c, r = t.batches.c, t.item_counts.c, t.revisions.c
    number = func.sum(c.number)
    query = (
        select(b.name, b.label, number)
        .join(t.revisions, r.batch_id == b.id)
        .join(t.item_counts, c.revision_id == r.id)
        .where(
            c.state.in_((State.PENDING, State.UNKNOWN)),
            r.state == "published",
            b.finished_at.is_(None),
            b.wanted == Wanted.OPEN,
            b.stop_code.is_(None),
            b.provider == provider,
        )
        .group_by(b.id, b.name, b.label)
        .having(number > 0)
        .order_by(b.id)
    )
    return {f"{name}@{label}": int(rows) for name, label, rows in tx.conn.execute(query)}


def failures(tx: Tx, batch_id: int) -> list[tuple[str, str, str, int]]:
    """(state, code, an example message, number) of items that ended without success."""
    c = t.items.c
    query = (
        select(
            c.state, func.coalesce(c.error_code, c.state), func.max(c.error_message), func.count()
        )
        .where(c.batch_id == batch_id, t.said_of("items", t.ENDED_BADLY))
        .group_by(c.state, func.coalesce(c.error_code, c.state))
        .order_by(func.count().desc())
    )
    return [(s, code, message or "", n) for s, code, message, n in tx.conn.execute(query)]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which items are wanted; what is empty does not choose."""

    failed_only: bool = False
    states: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


EVERYTHING = Choice()


def results(tx: Tx, batch_id: int, choice: Choice = EVERYTHING) -> Iterator[Result]:
    """The items in the batch's order, read page by page."""
    after = -1
    while True:
        page = _results_page(tx, batch_id, after, choice)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].position


def result_of(tx: Tx, batch_id: int, row_key: str) -> list[Result]:
    """The item or items (an edited row has several) with this row key."""
    c = t.items.c
    query = select(c.id).where(c.batch_id == batch_id, c.row_key == row_key)
    ids = list(tx.conn.execute(query).scalars())
    return [found for found in _fetch(tx, c.id.in_(ids)) if ids]


def result_at(tx: Tx, batch_id: int, position: int) -> list[Result]:
    c = t.items.c
    return _fetch(tx, (c.batch_id == batch_id) & (c.position == position))


def _results_page(tx: Tx, batch_id: int, after: int, choice: Choice) -> list[Result]:
    c = t.items.c
    where = (c.batch_id == batch_id) & (c.position > after)
    if choice.failed_only:
        where &= c.state.not_in([State.SUCCEEDED, State.WITHDRAWN])
    if choice.states:
        where &= c.state.in_(choice.states)
    if choice.codes:
        s = t.submissions.c
        where &= or_(
            c.error_code.in_(choice.codes),
            s.error_code.in_(choice.codes),
            s.needs_person.in_(choice.codes),
        )
    return _fetch(tx, where, limit=_PAGE)


def _fetch(tx: Tx, where: ColumnElement[bool], limit: int | None = None) -> list[Result]:
    i, s = t.items.c, t.submissions.c
    query = (
        select(
            i.id.label("item_id"),
            i.position,
            i.row_key,
            i.state,
            i.source,
            i.generation,
            s.id.label("submission_id"),
            s.needs_person,
            s.reused_from,
            s.reused_source,
            s.task_id,
            s.request_id,
            s.idempotency_key,
            s.estimate_nanos,
            s.actual_nanos,
            s.assumed_nanos,
            func.coalesce(i.error_code, s.error_code).label("error_code"),
            func.coalesce(i.error_message, s.error_message).label("error_message"),
        )
        .join_from(t.items, t.submissions, s.id == i.submission_id, isouter=True)
        .where(where, _PUBLISHED)
        .order_by(i.position)
        .limit(limit)
    )
    rows = tx.conn.execute(query).all()
    sums = _sums(tx, [row.item_id for row in rows if row.generation])
    bought = [row.submission_id for row in rows if row.submission_id is not None]
    urls = _urls(tx, bought)
    sources = [row.reused_source for row in rows if row.reused_source is not None]
    paths = downloads.paths_of(tx, bought + sources)
    return [
        Result(
            item_id=row.item_id,
            position=row.position,
            row_key=row.row_key,
            state=State(row.state),
            generation=row.generation,
            source=json.loads(row.source),
            needs_person=row.needs_person,
            task_id=row.task_id,
            request_id=row.request_id,
            idempotency_key=row.idempotency_key,
            estimate_nanos=row.estimate_nanos,
            actual_nanos=sums.get(row.item_id, row).actual_nanos,
            assumed_nanos=sums.get(row.item_id, row).assumed_nanos,
            video_urls=urls.get(row.submission_id, ()),
            video_path=paths.get(row.submission_id, paths.get(row.reused_source)),
            reused_from=row.reused_from,
            error_code=row.error_code,
            error_message=row.error_message,
        )
        for row in rows
    ]


def _sums(tx: Tx, item_ids: list[int]) -> dict[int, Row]:
    """What items that were bought more than once have cost over all their submissions."""
    s = t.submissions.c
    query = (
        select(
            s.item_id,
            # PostgreSQL adds up to a decimal.
            cast(func.sum(s.actual_nanos), BigInteger).label("actual_nanos"),
            cast(func.sum(s.assumed_nanos), BigInteger).label("assumed_nanos"),
        )
        .where(s.item_id.in_(item_ids))
        .group_by(s.item_id)
    )
    return {row.item_id: row for row in tx.conn.execute(query)} if item_ids else {}


def _urls(tx: Tx, submission_ids: list[int]) -> dict[int | None, tuple[str, ...]]:
    if not submission_ids:
        return {}
    c = t.outputs.c
    query = (
        select(c.submission_id, c.url)
        .where(c.submission_id.in_(submission_ids))
        .order_by(c.submission_id, c.ordinal)
    )
    found: dict[int | None, tuple[str, ...]] = {}
    for submission_id, url in tx.conn.execute(query):
        found[submission_id] = (*found.get(submission_id, ()), url)
    return found


@dataclass(frozen=True, slots=True)
class Purchase:
    """One submission of an item: what it came to, in nano-dollars."""

    generation: int
    state: str
    idempotency_key: str
    task_id: str | None
    estimate_nanos: int | None
    hold_nanos: int
    actual_nanos: int | None
    assumed_nanos: int | None
    events_json: str | None


def purchases_of(tx: Tx, item_id: int) -> list[Purchase]:
    """Every submission of an item, generation by generation."""
    s = t.submissions.c
    columns = [s[name] for name in Purchase.__dataclass_fields__]
    query = select(*columns).where(s.item_id == item_id).order_by(s.generation)
    return [Purchase(*row) for row in tx.conn.execute(query)]


def history_of(tx: Tx, item_id: int) -> list[HistoryLine]:
    """What happened to an item, oldest first; it begins with the reading of the spec it is from."""
    h, r = t.history.c, t.revisions.c
    origin = (
        select(r.published_at, r.actor, r.source)
        .join_from(t.items, t.revisions, r.id == t.items.c.revision_id)
        .where(t.items.c.id == item_id)
    )
    at, actor, source = tx.conn.execute(origin).one()
    first = HistoryLine(at, actor, "submitted", None, None, f"from {source}")
    query = (
        select(h.at, h.actor, h.event, h.state, t.submissions.c.generation, h.detail)
        .join_from(t.history, t.submissions, t.submissions.c.id == h.submission_id, isouter=True)
        .where(h.item_id == item_id)
        .order_by(h.id)
    )
    return [first, *(HistoryLine(*row) for row in tx.conn.execute(query))]
