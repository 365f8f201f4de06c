"""What the database has counted, held against counting."""

from __future__ import annotations

from sqlalchemy import func, select

from orchestrator.domain.states import State
from orchestrator.store import counting
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx


def counts(tx: Tx, batch_id: int) -> dict[State, int]:
    """Items by state, all states present; fails where the kept counts are not what there is."""
    c, r = t.items.c, t.revisions.c
    query = select(c.state, c.price_class, func.count()).join(t.revisions, r.id == c.revision_id)
    query = query.where(c.batch_id == batch_id, r.state == "published")
    found = dict.fromkeys(State, 0)
    unsent: dict[str, int] = {}
    for state, price_class, number in tx.conn.execute(query.group_by(c.state, c.price_class)):
        found[State(state)] += number
        if state == State.PENDING:
            unsent[price_class] = number
    assert counting.by_state(tx, batch_id) == found
    assert counting.unsent_by_class(tx, batch_id) == unsent
    return found
