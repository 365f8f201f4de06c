"""How many items are in which state, kept so that nobody counts what has ended.

Who adds items says so (`added`); what becomes of them is followed by triggers. On PostgreSQL each
change appends; the rows are summed when they are read, and folded by a tick.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, insert, select, text, update

from orchestrator.domain.states import State
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx

_C = t.item_counts.c
_R = t.revisions.c
_PUBLISHED = _R.state == "published"


def by_state(tx: Tx, batch_id: int) -> dict[State, int]:
    """Items by state, all states present."""
    query = (
        select(_C.state, func.sum(_C.number))
        .join(t.revisions, _R.id == _C.revision_id)
        .where(_R.batch_id == batch_id, _PUBLISHED)
        .group_by(_C.state)
    )
    found = {State(state): int(number) for state, number in tx.conn.execute(query)}
    return {state: found.get(state, 0) for state in State}


def unsent_by_class(tx: Tx, batch_id: int) -> dict[str, int]:
    """Price class -> number of items that are still to be sent."""
    query = (
        select(_C.price_class, func.sum(_C.number))
        .join(t.revisions, _R.id == _C.revision_id)
        .where(_R.batch_id == batch_id, _PUBLISHED, _C.state == State.PENDING)
        .group_by(_C.price_class)
    )
    return {name: int(number) for name, number in tx.conn.execute(query) if number}


def added(tx: Tx, revision_id: int, numbers: Mapping[tuple[str, str], int]) -> None:
    """Count new items of a revision: (state, price class) -> how many.

    A trigger per row took SQLite longer than the rows themselves.
    """
    for (state, price_class), number in numbers.items():
        if not tx.locks_rows:
            # A writer is alone here: one row of a kind, counted up.
            kind = (_C.revision_id == revision_id, _C.state == state, _C.price_class == price_class)
            more = update(t.item_counts).where(*kind).values(number=_C.number + number)
            if tx.conn.execute(more).rowcount:
                continue
        tx.conn.execute(
            insert(t.item_counts).values(
                revision_id=revision_id, state=state, price_class=price_class, number=number
            )
        )


def fold(tx: Tx) -> None:
    """Put the rows that changes have appended together again."""
    if not tx.locks_rows:
        return
    tx.conn.execute(
        text(
            "WITH gone AS (DELETE FROM item_counts WHERE revision_id IN ("
            "SELECT revision_id FROM item_counts GROUP BY revision_id HAVING count(*) > 200) "
            "RETURNING revision_id, state, price_class, number) "
            "INSERT INTO item_counts (revision_id, state, price_class, number) "
            "SELECT revision_id, state, price_class, sum(number) FROM gone GROUP BY 1, 2, 3"
        )
    )
