"""The rows of a batch that go first."""

from __future__ import annotations

from sqlalchemy import delete, exists, func, insert, select, update

from orchestrator.domain.canary import Canary, Phase, Row
from orchestrator.domain.states import State
from orchestrator.store import history
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.history import Entry

_C = t.canaries.c
_I = t.items.c
_B = t.batches.c
# Asked every second: made once, since making it takes longer than asking.
_TRYING = select(_B.id).where(_B.finished_at.is_(None), _B.canary_phase == Phase.TRYING)


def begin(tx: Tx, batch_id: int, canary: Canary, *, actor: str) -> None:
    """A canary over the rows that wait; one that is under way is only topped up."""
    values = {"canary_phase": Phase.TRYING, "canary_json": canary.to_json()}
    begun = tx.conn.execute(
        update(t.batches)
        .where(_B.id == batch_id, _B.canary_phase.is_distinct_from(Phase.TRYING))
        .values(values)
    ).rowcount
    if begun:
        tx.conn.execute(delete(t.canaries).where(_C.batch_id == batch_id))
        history.append(tx, actor, [Entry(batch_id, "canary", detail=f"{canary.rows} rows first")])
    else:
        tx.conn.execute(update(t.batches).where(_B.id == batch_id).values(values))
    choose(tx, batch_id, canary.rows)


def choose(tx: Tx, batch_id: int, rows: int) -> None:
    """Let so many rows go first: in turn from each price class, by their order in the spec."""
    chosen = exists().where(_C.item_id == _I.id)
    live = select(func.count()).select_from(t.items).join(t.canaries, _C.item_id == _I.id)
    there = tx.conn.execute(
        live.where(_C.batch_id == batch_id, _I.state != State.WITHDRAWN)
    ).scalar_one()
    turn = func.row_number().over(partition_by=_I.price_class, order_by=_I.position)
    waiting = (
        select(_I.id, _I.batch_id)
        .where(
            _I.batch_id == batch_id,
            t.said_of("items", t.PENDING),
            _I.submission_id.is_(None),
            ~chosen,
        )
        .order_by(turn, _I.position)
        .limit(max(0, rows - there))
    )
    tx.conn.execute(insert(t.canaries).from_select(["item_id", "batch_id"], waiting))


def among(tx: Tx, item_ids: list[int]) -> set[int]:
    """Those of these items that go first."""
    return set(tx.conn.execute(select(_C.item_id).where(_C.item_id.in_(item_ids))).scalars())


def trying(tx: Tx) -> list[int]:
    """Batches whose first rows are under way."""
    return list(tx.conn.execute(_TRYING).scalars())


def rows(tx: Tx, batch_id: int) -> list[Row]:
    """How the rows that go first are doing."""
    s = t.submissions.c
    cost = func.coalesce(s.actual_nanos, s.assumed_nanos)
    both = s.estimate_nanos.is_not(None) & cost.is_not(None)
    query = (
        select(
            _I.state,
            func.min(s.first_sent_at),
            func.coalesce(func.sum(s.estimate_nanos).filter(both), 0),
            func.coalesce(func.sum(cost).filter(both), 0),
        )
        .select_from(t.canaries)
        .join(t.items, _I.id == _C.item_id)
        .join(t.submissions, s.item_id == _I.id, isouter=True)
        .where(_C.batch_id == batch_id)
        .group_by(_I.id, _I.state)
    )
    return [Row(State(a), b, int(c), int(d)) for a, b, c, d in tx.conn.execute(query)]


def decide(tx: Tx, batch_id: int, phase: Phase, *, actor: str, detail: str) -> None:
    """Note what became of the canary."""
    tx.conn.execute(
        update(t.batches)
        .where(_B.id == batch_id, _B.canary_phase == Phase.TRYING)
        .values(canary_phase=phase)
    )
    history.append(tx, actor, [Entry(batch_id, f"canary {phase}", detail=detail or None)])


def others_wait(tx: Tx, batch_id: int) -> bool:
    """Whether rows that did not go first are still to be sent."""
    waits = (_I.batch_id == batch_id) & t.said_of("items", t.PENDING)
    return bool(tx.conn.execute(select(exists().where(waits))).scalar_one())
