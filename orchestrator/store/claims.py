"""Handing items to workers: chunks that no one has started, and the claim when one starts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BindParameter,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ColumnElement

from orchestrator.domain import budget, isolation
from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.canary import Phase
from orchestrator.domain.deadline import passed
from orchestrator.domain.in_flight import InFlight, Room, model_of
from orchestrator.domain.results import prompt_of
from orchestrator.domain.states import State
from orchestrator.domain.submission import CLOCKS_APART, Policy, Submission, claim, key_trusted
from orchestrator.store import batches, canaries, history, inputs, lives
from orchestrator.store import tables as t
from orchestrator.store.among import among, one_of
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Row, Tx
from orchestrator.store.history import Entry
from orchestrator.store.lives import Lease, Stored


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some items of one batch, to be worked on together by one task."""

    id: str
    batch_id: int
    title: str
    item_ids: tuple[int, ...]
    first: int
    last: int
    excerpt: str = ""
    """The beginning of its first prompt, where a person wants to see one."""
    probe: bool = False
    """It tries a closed gate: one row, sent although the gate is closed."""
    account: str = ""
    """The fingerprint of the API key that it is to be sent with."""


class Candidate(NamedTuple):
    """An item that may be claimed, with what its submission's key is made of."""

    item_id: int
    batch_id: int
    position: int
    row_key: str
    digest: str
    model: str
    price_class: str
    generation: int
    submission_id: int | None
    state: State
    input_json: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A submission leased to this worker, its money held, its intent committed."""

    item: Candidate
    stored: Stored


_ITEM = [
    t.items.c.id.label("item_id"),
    *(t.items.c[name] for name in Candidate._fields if name in t.items.c),
]
"""The fields of a Candidate, all but its input; the state is the last of them."""
_CLAIMABLE = t.said_of("items", t.CLAIMABLE)
_UNKNOWN = t.said_of("items", t.UNKNOWN)
"""Spelt out, as the index of it is: else every row that waits would be looked at."""
_PUBLISHED = (
    select(t.revisions.c.state).where(t.revisions.c.id == t.items.c.revision_id).scalar_subquery()
    == "published"
)
_PUBLISHED_OF_BATCH = select(t.revisions.c.id).where(
    t.revisions.c.batch_id == bindparam("batch"), t.revisions.c.state == "published"
)


# Asked for each chunk: made once, since making them takes longer than asking.
_B = t.batches.c
_SENDABLE = (
    select(_B.id)
    .where(
        _B.finished_at.is_(None),
        _B.published_at.is_not(None),
        _B.wanted == Wanted.OPEN,
        or_(_B.stop_code.is_(None), _B.stop_code != Stop.COST_UNREADABLE),
    )
    .order_by(_B.served_at, _B.id)
)
_OF_CHUNK = among(t.items.c.id)
_RESERVE = update(t.items).where(_OF_CHUNK).values(due_at=bindparam("until"))
_STILL_CLAIMABLE = t.beside("items", t.CLAIMABLE)
_RELEASE = update(t.items).where(_OF_CHUNK, _STILL_CLAIMABLE).values(due_at=bindparam("now"))
_FORGET_LOST = delete(t.chunks).where(t.chunks.c.expires_at <= bindparam("now"))
_FORGET = delete(t.chunks).where(t.chunks.c.id == bindparam("chunk"))
_UNSTARTED = select(func.count()).select_from(t.chunks)
_CANDIDATES = (
    select(*_ITEM, t.inputs.c.input_json, t.inputs.c.image)
    .join(t.inputs, t.inputs.c.digest == t.items.c.digest)
    .where(_OF_CHUNK, _STILL_CLAIMABLE, _PUBLISHED)
    .order_by(t.items.c.position)
)
_CANDIDATES_LOCKED = _CANDIDATES.with_for_update(of=t.items, skip_locked=True)


def dispatch_alone(tx: Tx) -> None:
    """Wait until nobody else dispatches; nobody will until this transaction ends.

    Two who looked at once would take the same rows: the second would wait for the first, and its
    chunk, of which nothing is left to be claimed, would stand in another one's place.
    """
    _take_turns(tx, "orchestrator:dispatch")


def _take_turns(tx: Tx, name: str) -> None:
    """Wait until no other transaction has this name; SQLite's writers take turns as it is."""
    if tx.locks_rows:
        lock = func.pg_advisory_xact_lock(func.hashtextextended(name, 0))
        tx.conn.execute(select(lock))


def sendable_batches(tx: Tx) -> list[Batch]:
    """Open batches that are not stopped for good, the one served least first."""
    return [batches.get(tx, batch_id) for batch_id in tx.conn.execute(_SENDABLE).scalars()]


class Next(NamedTuple):
    """An item that may be sent now; `lapses` deaths of a worker in a row came over it."""

    item_id: int
    position: int
    price_class: str
    state: State
    lapses: int
    account: str | None = None
    """Whose key it was sent with before, if it was."""


def next_items(
    tx: Tx,
    batch_id: int,
    limit: int,
    *,
    state: State | None = None,
    accounts: Collection[str] | None = None,
    without_models: Collection[str] = (),
    price_classes: Collection[str] | None = None,
    canary: bool = False,
    first_sends: bool = True,
) -> list[Next]:
    """What may be sent now, in the batch's order; with `state` only what is in it.

    `accounts`: what was sent before only if it was with one of these keys. Of what was not sent
    before, `price_classes` lets only these through, `without_models` all but these. `canary`: only
    rows that go before the others. `first_sends` False: only what was sent before.
    """
    lists = {"accounts": accounts, "without": without_models or None, "classes": price_classes}
    given = {name: list(values) for name, values in lists.items() if values is not None}
    query = _next_items(frozenset(given), state=state, canary=canary, first_sends=first_sends)
    values = {"batch": batch_id, "now": tx.now, "most": limit, **given}
    found: Iterable[Row] = tx.conn.execute(query, values)
    return [
        Next(i, p, price, State(s), lapses, account) for i, p, price, s, lapses, account in found
    ]


@cache
def _next_items(
    given: frozenset[str], *, state: State | None, canary: bool, first_sends: bool
) -> Select[Row]:
    """The query for one combination of wishes; `given` names the lists that it is to look into."""
    c = t.items.c
    lapses = func.coalesce(t.submissions.c.lapses, 0)
    query = (
        select(c.id, c.position, c.price_class, c.state, lapses, t.submissions.c.account)
        .join_from(t.items, t.submissions, t.submissions.c.id == c.submission_id, isouter=True)
        .where(c.batch_id == bindparam("batch"), c.due_at <= bindparam("now"))
        .where(_UNKNOWN if state is State.UNKNOWN else _CLAIMABLE)
        .where(one_of(c.revision_id, _PUBLISHED_OF_BATCH))
        .order_by(c.position)
        .limit(bindparam("most"))
    )

    def listed(name: str) -> BindParameter[list[str]]:
        return bindparam(name, expanding=True)

    if state is State.PENDING:
        query = query.where(c.state == state)
    if "accounts" in given:
        ours = t.submissions.c.account.in_(listed("accounts"))
        query = query.where(or_(c.state == State.PENDING, ours))
    if "without" in given:
        query = query.where(or_(c.state == State.UNKNOWN, c.model.not_in(listed("without"))))
    if canary:
        query = query.join(t.canaries, t.canaries.c.item_id == c.id)
    if not first_sends:
        query = query.where(c.submission_id.is_not(None))
    if "classes" in given:
        query = query.where(or_(c.state == State.UNKNOWN, c.price_class.in_(listed("classes"))))
    return query


def excerpt(tx: Tx, item_id: int, length: int) -> str:
    """The first letters of an item's prompt, on one line."""
    source = tx.conn.execute(select(t.items.c.source).where(t.items.c.id == item_id)).scalar_one()
    return " ".join(prompt_of(json.loads(source)).split())[:length]


def reserve(tx: Tx, chunk: Chunk, *, until: int) -> None:
    """Note a chunk whose message is about to leave; its items stay put until `until`."""
    tx.conn.execute(
        insert(t.chunks).values(
            id=chunk.id,
            kind="submit",
            batch_id=chunk.batch_id,
            account=chunk.account,
            rows=len(chunk.item_ids),
            expires_at=until,
        )
    )
    tx.conn.execute(_RESERVE, {"ids": list(chunk.item_ids), "until": until})


def release(tx: Tx, item_ids: Sequence[int]) -> None:
    """Give reserved items back to dispatch, which decides anew."""
    if item_ids:
        tx.conn.execute(_RELEASE, {"ids": list(item_ids), "now": tx.now})


def unstarted(tx: Tx) -> int:
    """Chunks whose message is on its way; forgets those that must have got lost."""
    tx.conn.execute(_FORGET_LOST, {"now": tx.now})
    return int(tx.conn.execute(_UNSTARTED).scalar_one())


def started(tx: Tx, chunk_id: str) -> None:
    tx.conn.execute(_FORGET, {"chunk": chunk_id})


def in_flight(tx: Tx, account: str) -> Counter[str]:
    """Model -> the account's submissions that may be running at the provider."""
    return _by_model(tx, account, t.said_of("submissions", t.IN_FLIGHT))


def sending(tx: Tx, account: str) -> Counter[str]:
    """Model -> those of them that are claimed and have no answer yet."""
    return _by_model(tx, account, t.said_of("submissions", t.LEASED))


def _by_model(tx: Tx, account: str, where: ColumnElement[bool]) -> Counter[str]:
    s = t.submissions.c
    query = select(s.price_class, func.count()).where(where, s.account == account)
    found: Counter[str] = Counter()
    for price_class, number in tx.conn.execute(query.group_by(s.price_class)):
        found[model_of(price_class)] += number
    return found


def at_work(tx: Tx, account: str, *, leased_beyond: int) -> int:
    """The account's rows that a worker is sending, or is about to.

    A lease that ends by `leased_beyond` was taken so long ago that its row waits for an answer, or
    its worker is gone: neither needs a process.
    """
    s, c = t.submissions.c, t.chunks.c
    sending = t.said_of("submissions", t.LEASED)
    claimed = (
        select(func.count())
        .select_from(t.submissions)
        .where(sending, s.lease_until > leased_beyond, s.account == account)
    )
    ahead = select(func.coalesce(func.sum(c.rows), 0)).where(c.account == account)
    return sum(int(tx.conn.execute(query).scalar_one()) for query in (claimed, ahead))


def room(tx: Tx, account: str, limit: InFlight) -> Room:
    """How many more of the account's may be in flight, nobody else claiming until this ends.

    Batches are locked one by one, so without it two claims would both count, and both pass.
    Asked after the batch is locked: whoever waits here keeps nobody waiting who is before.
    """
    _take_turns(tx, f"orchestrator:in_flight:{account}")
    return limit.room(in_flight(tx, account))


def candidates(tx: Tx, item_ids: Sequence[int]) -> list[Candidate]:
    """What is still claimable of a chunk, locked, in the batch's order.

    Of one batch: ids in a message from before the database went back may be other rows' by now.
    """
    query = _CANDIDATES_LOCKED if tx.locks_rows else _CANDIDATES
    rows = tx.conn.execute(query, {"ids": list(item_ids)}).all()
    found = [row for row in rows if row.batch_id == rows[0].batch_id]
    wholes = inputs.whole(tx, [(row.input_json, row.image) for row in found])
    return [
        Candidate._make((*row[: len(_ITEM) - 1], State(row.state), input_json))
        for row, input_json in zip(found, wholes, strict=True)
    ]


def claim_items(
    tx: Tx,
    batch: Batch,
    wanted: Sequence[Candidate],
    keys: Mapping[int, str],
    *,
    prices: Mapping[str, int],
    lease: Lease,
    account: str,
    policy: Policy,
    room: Room | None,
    actor: str,
) -> list[Claimed]:
    """Lease what may be sent and hold its money: the intent of invariant 1.

    `keys` gives each item's idempotency key, `room` what more may be in flight (None: no limit).
    `batch` was locked in this transaction. After its deadline nothing new is claimed. What the
    budget does not allow stays behind, and the batch is then marked as stopped by its budget once
    nothing else is held.
    """
    # Where no submission speaks for an item, its generation has none.
    found = lives.of_items(tx, [item.item_id for item in wanted if item.submission_id is not None])
    pairs = [(item, found.get((item.item_id, item.generation))) for item in wanted]
    ready = [pair for pair in pairs if _ready(*pair, account, policy, tx.now)]
    # A dead worker's message may come again, with rows together that are to part.
    ready = isolation.sharing(ready, len(ready), _lapses)
    again = [(item, kept) for item, kept in ready if kept and item.state is not State.PENDING]
    fresh = [pair for pair in ready if pair[0].state is State.PENDING]
    fresh = _within_limits(tx, batch, fresh)
    if passed(batch.deadline_at, tx.now):
        fresh = []
    if room is not None:
        admitted = room.admits(item.model for item, _ in fresh)
        fresh = [pair for pair, fits in zip(fresh, admitted, strict=True) if fits]
    moving = lives.moving_hold(tx, batch)
    granted = budget.holds(
        [prices.get(item.price_class) for item, _ in fresh],
        free_nanos=batch.free_nanos,
        held_nanos=moving,
        max_price=batch.max_price_nanos,
    )
    affordable = [
        (pair, hold) for pair, hold in zip(fresh, granted, strict=True) if hold is not None
    ]
    if len(affordable) < len(fresh) and not affordable and moving == 0:
        batches.stop(
            tx, batch.id, Stop.BUDGET, "the budget does not cover another row", actor=actor
        )
    total = sum(hold for _, hold in affordable)
    firsts = sum(_first(*pair) for pair, _ in affordable)
    if affordable and not batches.take_hold(tx, batch.id, total, rows=firsts):
        affordable = []
    chosen = [((item, found), found.life.hold_nanos) for item, found in again] + affordable
    claimed = _lease_all(tx, chosen, keys, lease, account)
    taken = {one.item.item_id for one in claimed}
    lives.speak_for_items(tx, [one.stored for one in claimed])
    later = {item.item_id for item, kept in pairs if kept and kept.life.due_at > tx.now}
    release(tx, [item.item_id for item in wanted if item.item_id not in taken | later])
    entries = [
        Entry(batch.id, "claim", one.item.item_id, one.stored.id, one.stored.life.state)
        for one in claimed
    ]
    history.append(tx, actor, entries)
    return claimed


def _ready(item: Candidate, found: Stored | None, account: str, policy: Policy, now: int) -> bool:
    """Whether a claimable item's submission, if it has one, may be sent now with this account."""
    if found is None:
        return item.state is State.PENDING
    if found.life.due_at > now or found.life.needs_person:
        return False
    return item.state is State.PENDING or (
        found.account == account and key_trusted(found.life, now=now, policy=policy)
    )


def _lapses(pair: tuple[Candidate, Stored | None]) -> int:
    return pair[1].life.lapses if pair[1] else 0


def _first(item: Candidate, found: Stored | None) -> bool:
    """Whether nothing of this row was ever claimed."""
    return found is None and item.generation == 0


def _within_limits(
    tx: Tx, batch: Batch, fresh: Sequence[tuple[Candidate, Stored | None]]
) -> list[tuple[Candidate, Stored | None]]:
    """What a canary under way, and the limit of rows, let go."""
    if batch.canary_phase is Phase.TRYING:
        early = canaries.among(tx, [item.item_id for item, _ in fresh])
        fresh = [pair for pair in fresh if pair[0].item_id in early]
    left = batch.rows_left
    if left is None:
        return list(fresh)
    firsts = [pair for pair in fresh if _first(*pair)]
    barred = {item.item_id for item, _ in firsts[left:]}
    return [pair for pair in fresh if pair[0].item_id not in barred]


def _lease_all(
    tx: Tx,
    chosen: Sequence[tuple[tuple[Candidate, Stored | None], int]],
    keys: Mapping[int, str],
    lease: Lease,
    account: str,
) -> list[Claimed]:
    """The submissions of what was chosen, each with its hold, under the lease; new ones made."""
    again: list[Claimed] = []
    fresh: list[tuple[Candidate, Stored]] = []
    for (item, found), hold in chosen:
        before = found.life if found else Submission(State.PENDING)
        leased = Stored(
            id=found.id if found else 0,
            batch_id=item.batch_id,
            item_id=item.item_id,
            generation=item.generation,
            idempotency_key=found.idempotency_key if found else keys[item.item_id],
            account=account,
            price_class=item.price_class,
            lease_token=lease.token,
            lease_until=lease.until,
            life=claim(before, now=tx.now, hold_nanos=hold),
        )
        if found is None:
            fresh.append((item, leased))
        else:
            again.append(Claimed(item, leased))
            lives.lease(tx, leased, owner=lease.owner)
    made = lives.create_leased(tx, [stored for _, stored in fresh], lease)
    new = [Claimed(item, stored) for (item, _), stored in zip(fresh, made, strict=True)]
    return again + new


def with_expired_keys(tx: Tx, policy: Policy) -> list[Stored]:
    """Unknown submissions whose key is too old to be sent again, or of unknown age, locked."""
    return lives.unknown_sent_outside(tx, tx.now - policy.trusted, tx.now + CLOCKS_APART)
