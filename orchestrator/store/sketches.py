"""Run times: appended where ends are recorded, folded into one sketch for each price class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from orchestrator.domain.sketch import Span
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_ignoring

_R = t.run_times.c
_K = t.sketches.c


@dataclass(frozen=True, slots=True)
class Known:
    """A price class's sketch as read; `version` is what a new one is put against."""

    version: int
    sketch_json: str
    late_json: str = "null"


def append(tx: Tx, provider: str, ended: Sequence[tuple[str, Span]]) -> None:
    """(price class, between which ages a task ended), to be folded later."""
    rows = [
        {"provider": provider, "price_class": name, "low": span.low, "high": span.high}
        for name, span in ended
    ]
    if rows:
        tx.conn.execute(insert(t.run_times), rows)


def unfolded(tx: Tx, provider: str, limit: int) -> dict[str, list[tuple[int, Span]]]:
    """The oldest `limit` run times: price class -> (row's id, span), oldest first."""
    query = select(_R.id, _R.price_class, _R.low, _R.high).where(_R.provider == provider)
    found: dict[str, list[tuple[int, Span]]] = {}
    for row in tx.conn.execute(query.order_by(_R.id).limit(limit)):
        found.setdefault(row.price_class, []).append((row.id, Span(row.low, row.high)))
    return found


def known(tx: Tx, provider: str, price_class: str) -> Known | None:
    query = select(_K.version, _K.sketch_json, _K.late_json)
    row = tx.conn.execute(
        query.where(_K.provider == provider, _K.price_class == price_class)
    ).one_or_none()
    return None if row is None else Known(row.version, row.sketch_json, row.late_json)


def put(
    tx: Tx,
    provider: str,
    price_class: str,
    *,
    version: int,
    sketch_json: str,
    plan_json: str,
    folded: Sequence[int],
    late_json: str = "null",
) -> bool:
    """Replace the sketch of that version (0: there is none) and drop the rows it now holds.

    False where another fold was faster: then nothing is changed, and its rows are not lost.
    """
    key = {"provider": provider, "price_class": price_class}
    blank = {"version": 0, "sketch_json": "[]", "plan_json": "null", "folded_at": tx.now}
    if version == 0:
        tx.conn.execute(insert_ignoring(tx, t.sketches), [key | blank])
    done = tx.conn.execute(
        update(t.sketches)
        .where(_K.provider == provider, _K.price_class == price_class, _K.version == version)
        .values(
            version=version + 1,
            sketch_json=sketch_json,
            plan_json=plan_json,
            late_json=late_json,
            folded_at=tx.now,
        )
    )
    if not done.rowcount:
        return False
    tx.conn.execute(delete(t.run_times).where(_R.id.in_(folded)))
    return True


def versions(tx: Tx, provider: str) -> dict[str, int]:
    """Price class -> its sketch's version."""
    query = select(_K.price_class, _K.version).where(_K.provider == provider)
    return {row.price_class: row.version for row in tx.conn.execute(query)}


def plans(tx: Tx, provider: str, price_classes: Sequence[str]) -> Mapping[str, str]:
    """Price class -> its plan as JSON."""
    query = select(_K.price_class, _K.plan_json)
    rows = tx.conn.execute(query.where(_K.provider == provider, _K.price_class.in_(price_classes)))
    return {row.price_class: row.plan_json for row in rows}
