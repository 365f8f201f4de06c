"""Batches: finding, creating, steering, finishing."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import (
    BigInteger,
    Select,
    bindparam,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.sql import ColumnElement

from orchestrator.domain import canary
from orchestrator.domain.account import DEFAULT
from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.canary import Canary, Phase
from orchestrator.domain.identity import idempotency_key_from_json
from orchestrator.domain.money import to_usd
from orchestrator.store import history
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.history import Entry
from orchestrator.store.many import insert_ignoring

_log = logging.getLogger(__name__)


class Keyed(Protocol):
    """What a purchase's key is made of, beside its batch and generation."""

    @property
    def row_key(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def input_json(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as stored; money in nano-dollars, times in milliseconds."""

    id: int
    name: str
    label: str
    namespace: str
    key_version: int
    provider: str
    account: str
    """Its name."""
    wanted: Wanted
    budget_nanos: int | None
    held_nanos: int
    estimated_nanos: int
    actual_nanos: int
    assumed_nanos: int
    stop_code: Stop | None
    stop_message: str | None
    retries: int
    max_price_nanos: int | None
    weight: int
    row_limit: int | None
    sent_rows: int
    canary_phase: Phase | None
    canary_json: str | None
    deadline_at: int | None
    columns: tuple[str, ...]
    created_at: int
    published_at: int | None
    finished_at: int | None
    archived_at: int | None

    @property
    def title(self) -> str:
        return f"{self.name}@{self.label}"

    @property
    def free_nanos(self) -> int | None:
        """What the budget leaves; None without a budget, negative where it was passed."""
        return None if self.budget_nanos is None else self.budget_nanos - self.committed_nanos

    @property
    def rows_left(self) -> int | None:
        """How many more rows may be sent for the first time; None without a limit."""
        return None if self.row_limit is None else max(0, self.row_limit - self.sent_rows)

    @property
    def canary(self) -> Canary | None:
        """The rows that go first, or went."""
        return None if self.canary_json is None else canary.from_json(self.canary_json)

    def key_of(self, row: Keyed, generation: int) -> str:
        """The idempotency key of a row's purchase of that generation."""
        return idempotency_key_from_json(
            key_version=self.key_version,
            namespace=self.namespace,
            batch=self.name,
            label=self.label,
            row_key=row.row_key,
            model=row.model,
            input_json=row.input_json,
            generation=generation,
        )

    @property
    def committed_nanos(self) -> int:
        """What is spent, or may have been."""
        return self.held_nanos + self.actual_nanos + self.assumed_nanos


def sends(batch: Batch) -> bool:
    """Whether a person wants this batch sent and nothing stops it; the budget has its own say."""
    return batch.wanted is Wanted.OPEN and batch.stop_code is not Stop.COST_UNREADABLE


_PUBLISHED = t.batches.c.published_at.is_not(None)
_FIELDS = [t.batches.c[name] for name in Batch.__dataclass_fields__]


# Asked for each chunk: made once, since making them takes longer than asking.
_THIS = t.batches.c.id == bindparam("b_id")
_GET = select(*_FIELDS).where(_THIS)
_LOCK = _GET.with_for_update()
_MONEY = ("held", "estimated", "actual", "assumed")
_ADD_MONEY = update(t.batches).where(_THIS)
_ADD_MONEY = _ADD_MONEY.values(
    {f"{name}_nanos": t.batches.c[f"{name}_nanos"] + bindparam(name) for name in _MONEY}
)


def _batch(row: Row) -> Batch:
    values = dict(row._mapping)  # noqa: SLF001 SQLAlchemy's public name for it
    values["columns"] = tuple(json.loads(values["columns"]))
    values["wanted"] = Wanted(values["wanted"])
    values["canary_phase"] = Phase(values["canary_phase"]) if values["canary_phase"] else None
    values["stop_code"] = Stop(values["stop_code"]) if values["stop_code"] else None
    return Batch(**values)


def _one(tx: Tx, query: Select[Row]) -> Batch | None:
    row = tx.conn.execute(query).one_or_none()
    return None if row is None else _batch(row)


def find(tx: Tx, name: str, label: str) -> Batch | None:
    return _one(tx, select(*_FIELDS).where(t.batches.c.name == name, t.batches.c.label == label))


def latest(tx: Tx, name: str) -> Batch | None:
    """The newest batch of a name, whatever its label."""
    query = select(*_FIELDS).where(t.batches.c.name == name, _PUBLISHED)
    return _one(tx, query.order_by(t.batches.c.id.desc()).limit(1))


def get(tx: Tx, batch_id: int) -> Batch:
    return _batch(tx.conn.execute(_GET, {"b_id": batch_id}).one())


def lock(tx: Tx, batch_id: int) -> Batch:
    """The batch, with its row locked until the transaction ends."""
    return _batch(tx.conn.execute(_LOCK if tx.locks_rows else _GET, {"b_id": batch_id}).one())


def all_batches(tx: Tx) -> list[Batch]:
    """Every batch, newest first."""
    query = select(*_FIELDS).where(_PUBLISHED).order_by(t.batches.c.id.desc())
    return [_batch(row) for row in tx.conn.execute(query)]


def newest(tx: Tx, provider: str, limit: int) -> list[int]:
    """Ids of the newest batches at this provider."""
    query = select(t.batches.c.id).where(t.batches.c.provider == provider, _PUBLISHED)
    return list(tx.conn.execute(query.order_by(t.batches.c.id.desc()).limit(limit)).scalars())


def lively(tx: Tx, *, since: int) -> list[Batch]:
    """Batches that are open, or ended after `since`."""
    c = t.batches.c
    query = select(*_FIELDS).where(_PUBLISHED, c.finished_at.is_(None) | (c.finished_at > since))
    return [_batch(row) for row in tx.conn.execute(query.order_by(c.id))]


def announced(tx: Tx, batch_ids: Sequence[int]) -> set[int]:
    """Which of these batches have come to their end before."""
    o = t.outbox.c
    query = select(o.batch_id).where(o.batch_id.in_(batch_ids), o.kind == "batch.finished")
    return set(tx.conn.execute(query.distinct()).scalars())


def titles(tx: Tx) -> list[str]:
    query = select(t.batches.c.name, t.batches.c.label).where(_PUBLISHED)
    query = query.order_by(t.batches.c.id.desc())
    return [f"{name}@{label}" for name, label in tx.conn.execute(query)]


def open_titles(tx: Tx, name: str) -> list[str]:
    """The unfinished batches of a name."""
    c = t.batches.c
    query = select(c.name, c.label).where(c.name == name, _PUBLISHED, c.finished_at.is_(None))
    return [f"{name}@{label}" for name, label in tx.conn.execute(query.order_by(c.id))]


_open = t.batches.alias("open_batches")
_least_served = func.coalesce(
    select(func.min(_open.c.served_at)).where(_open.c.finished_at.is_(None)).scalar_subquery(), 0
)
"""Where a batch enters the round: level with the one served least, not ahead of everybody."""


def create(
    tx: Tx,
    *,
    name: str,
    label: str,
    namespace: str,
    key_version: int,
    provider: str,
    budget_nanos: int | None,
    retries: int = 0,
    max_price_nanos: int | None = None,
    wanted: Wanted = Wanted.OPEN,
    account: str = DEFAULT,
) -> Batch | None:
    """A new, empty batch; None where somebody else made it first."""
    statement = (
        insert_ignoring(tx, t.batches)
        .values(
            name=name,
            label=label,
            namespace=namespace,
            key_version=key_version,
            provider=provider,
            account=account,
            wanted=wanted,
            budget_nanos=budget_nanos,
            retries=retries,
            max_price_nanos=max_price_nanos,
            served_at=_least_served,
            columns="[]",
            created_at=tx.now,
        )
        .returning(t.batches.c.id)
    )
    created = tx.conn.execute(statement).scalar_one_or_none()
    return None if created is None else get(tx, created)


def rehome(tx: Tx, batch_id: int, *, namespace: str, provider: str, actor: str) -> bool:
    """Give a batch to another provider and namespace; False once anything of it may be sent."""
    lock(tx, batch_id)  # Whoever claims has it too: what is claimed by now is seen below.
    c = t.batches.c
    bought = exists().where(t.submissions.c.batch_id == batch_id)
    moved = tx.conn.execute(
        update(t.batches)
        .where(c.id == batch_id, ~bought)
        .values(namespace=namespace, provider=provider)
    ).rowcount
    if moved:
        history.append(tx, actor, [Entry(batch_id, "provider", detail=f"now {provider}")])
    return bool(moved)


def stop(tx: Tx, batch_id: int, code: Stop, message: str, *, actor: str) -> bool:
    """Stop sending for this batch; False where it was stopped for that reason already."""
    changed = tx.conn.execute(
        update(t.batches)
        .where(t.batches.c.id == batch_id, t.batches.c.stop_code.is_distinct_from(code))
        .values(stop_code=code, stop_message=message)
    ).rowcount
    if changed:
        history.append(tx, actor, [Entry(batch_id, "stopped", detail=message)])
        told = {"batch": get(tx, batch_id).title, "code": code}
        _log.warning("batch stopped: %s", message, extra={"about": told})
    return bool(changed)


def clear_stop(tx: Tx, batch_id: int, code: Stop) -> None:
    tx.conn.execute(
        update(t.batches)
        .where(t.batches.c.id == batch_id, t.batches.c.stop_code == code)
        .values(stop_code=None, stop_message=None)
    )


def set_budget(tx: Tx, batch_id: int, budget_nanos: int, *, actor: str, detail: str) -> None:
    """A budget given by a person; a stop for want of budget is looked at anew."""
    tx.conn.execute(
        update(t.batches).where(t.batches.c.id == batch_id).values(budget_nanos=budget_nanos)
    )
    clear_stop(tx, batch_id, Stop.BUDGET)
    history.append(tx, actor, [Entry(batch_id, "budget", detail=detail)])


def set_max_price(tx: Tx, batch_id: int, nanos: int, *, actor: str) -> None:
    """A highest price of a row given by a person; a stop for it is looked at anew."""
    tx.conn.execute(
        update(t.batches).where(t.batches.c.id == batch_id).values(max_price_nanos=nanos)
    )
    clear_stop(tx, batch_id, Stop.MAX_PRICE)
    history.append(tx, actor, [Entry(batch_id, "max price", detail=f"{to_usd(nanos)} USD")])


def set_limit(tx: Tx, batch_id: int, rows: int | None, *, actor: str) -> None:
    """How many rows may be sent, given by a person; a stop for it is looked at anew."""
    tx.conn.execute(update(t.batches).where(t.batches.c.id == batch_id).values(row_limit=rows))
    clear_stop(tx, batch_id, Stop.LIMIT)
    detail = "none" if rows is None else f"{rows} rows"
    history.append(tx, actor, [Entry(batch_id, "limit", detail=detail)])


def set_account(tx: Tx, batch_id: int, name: str, *, actor: str) -> None:
    """With whose key is sent what was never sent; what was stays with the key it was sent with."""
    tx.conn.execute(update(t.batches).where(t.batches.c.id == batch_id).values(account=name))
    history.append(tx, actor, [Entry(batch_id, "account", detail=name)])


def set_weight(tx: Tx, batch_id: int, weight: int, *, actor: str) -> None:
    """How many times the rows of a batch of weight 1 this one gets while both wait."""
    tx.conn.execute(update(t.batches).where(t.batches.c.id == batch_id).values(weight=weight))
    history.append(tx, actor, [Entry(batch_id, "priority", detail=str(weight))])


def put_back(tx: Tx, batch_id: int, *, held: int, first: bool) -> None:
    """Count a purchase that a journal remembers."""
    c = t.batches.c
    values = {"held_nanos": c.held_nanos + held, "sent_rows": c.sent_rows + int(first)}
    tx.conn.execute(update(t.batches).where(c.id == batch_id).values(values))


def set_deadline(tx: Tx, batch_id: int, at: int, *, actor: str, detail: str) -> None:
    """A person's deadline; a stop for an earlier one is looked at anew."""
    tx.conn.execute(update(t.batches).where(t.batches.c.id == batch_id).values(deadline_at=at))
    clear_stop(tx, batch_id, Stop.DEADLINE)
    history.append(tx, actor, [Entry(batch_id, "deadline", detail=detail)])


def add_money(
    tx: Tx, batch_id: int, *, held: int = 0, estimated: int = 0, actual: int = 0, assumed: int = 0
) -> None:
    """Add what a group of submissions changed; all may be negative."""
    if not (held or estimated or actual or assumed):
        return
    change = {"held": held, "estimated": estimated, "actual": actual, "assumed": assumed}
    tx.conn.execute(_ADD_MONEY, {"b_id": batch_id, **change})


_B = t.batches.c
_HOLD, _NUMBER = bindparam("nanos", type_=BigInteger), bindparam("number", type_=BigInteger)
_COMMITTED = _B.actual_nanos + _B.assumed_nanos + _B.held_nanos
_TAKE_HOLD = (
    update(t.batches)
    .where(
        _THIS,
        _B.wanted == Wanted.OPEN,
        _B.budget_nanos.is_(None) | (_B.budget_nanos >= _COMMITTED + _HOLD) | (_HOLD == 0),
        _B.row_limit.is_(None) | (_B.sent_rows + _NUMBER <= _B.row_limit) | (_NUMBER == 0),
    )
    .values(held_nanos=_B.held_nanos + _HOLD, sent_rows=_B.sent_rows + _NUMBER)
)


def take_hold(tx: Tx, batch_id: int, nanos: int, *, rows: int) -> bool:
    """Reserve money for a claim, in one statement that cannot pass the budget.

    Nor the limit: `rows` of the claim are sent for the first time.
    """
    values = {"b_id": batch_id, "nanos": nanos, "number": rows}
    return bool(tx.conn.execute(_TAKE_HOLD, values).rowcount)


def has_open_item(batch_id: ColumnElement[int] | int) -> ColumnElement[bool]:
    """Whether an item of a batch may still be sent, or the purchase that speaks for it runs."""
    i, s = t.items.c, t.submissions.c
    claimable = exists().where(i.batch_id == batch_id, t.said_of("items", t.CLAIMABLE))
    # Looked up for one after the other: mostly the first is enough, where a join would be of all.
    spoken_for_by = select(i.submission_id).where(i.id == s.item_id).scalar_subquery()
    under_way = exists().where(
        s.batch_id == batch_id, t.said_of("submissions", t.IN_FLIGHT), spoken_for_by == s.id
    )
    return claimable | under_way


_FINISH_ENDED = (
    update(t.batches)
    .where(t.batches.c.finished_at.is_(None), _PUBLISHED, ~has_open_item(t.batches.c.id))
    .values(finished_at=bindparam("now"), stop_code=None, stop_message=None)
    .returning(t.batches.c.id)
)


def finish_ended(tx: Tx) -> list[Batch]:
    """Close batches whose every published item is terminal; each is returned once."""
    ended = list(tx.conn.execute(_FINISH_ENDED, {"now": tx.now}).scalars())
    return [get(tx, batch_id) for batch_id in ended]


def serve(tx: Tx, batch_id: int, cost: int) -> None:
    """Move a batch back in the round: by its chunk's size over its weight."""
    tx.conn.execute(
        text("UPDATE batches SET served_at = served_at + :cost / weight WHERE id = :id"),
        {"cost": cost, "id": batch_id},
    )
