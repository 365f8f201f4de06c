"""Expanding items into submit tasks: late, fairly, and only as many as workers will soon take."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from orchestrator.domain import budget, isolation
from orchestrator.domain.batch import Stop
from orchestrator.domain.canary import Phase
from orchestrator.domain.deadline import passed
from orchestrator.domain.gate import KINDS, Probe
from orchestrator.domain.money import to_usd
from orchestrator.domain.states import State
from orchestrator.services.context import Context
from orchestrator.store import batches, claims, gates, lives, prices, workers
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk, Next
from orchestrator.store.engine import Tx
from orchestrator.store.gates import Gate

CHUNKS_AHEAD = 2
"""Unstarted chunks per worker process: one to start next, one behind it."""


def run_once(context: Context, publish: Callable[[Chunk], None]) -> int:
    """Reserve chunks and send their messages; returns how many.

    Idempotent and harmless when doubled: what is reserved is not reserved again, and a message
    that gets lost frees its rows when the reservation ends.
    """
    if context.account is None:
        return 0
    with context.store.write() as tx:
        chunks = _reserve(tx, context, context.account)
    for chunk in chunks:
        publish(chunk)
    return len(chunks)


def _reserve(tx: Tx, context: Context, account: str) -> list[Chunk]:
    slots = CHUNKS_AHEAD * workers.submitting_processes(tx) - claims.unstarted(tx)
    closed = gates.closed(tx, context.provider, account)
    probing = [gate for gate in closed if _row_may_try(gate, tx.now)]
    if slots <= 0 or len(probing) < len(closed):
        return []
    room = None
    if context.max_in_flight is not None:
        room = context.max_in_flight - claims.in_flight(tx, account)
    book = prices.known(tx, context.provider)
    chunks: list[Chunk] = []
    waiting = [batch for batch in claims.sendable_batches(tx) if batch.provider == context.provider]
    while waiting and slots > 0:
        batch = waiting.pop(0)
        size = 1 if probing else context.timing.chunk_size
        size = size if room is None else min(size, room)
        chunk = _next_chunk(tx, context, batch, book, size=size, probe=bool(probing))
        if chunk is None:
            continue
        chunks.append(chunk)
        slots -= 1
        if room is not None:
            room -= len(chunk.item_ids)
        if probing:
            for gate in probing:
                gates.postpone_probe(tx, gate.id, tx.now + KINDS[gate.reason].probe_every)
            break
        waiting.append(batch)
    return chunks


def _row_may_try(gate: Gate, now: int) -> bool:
    by_row = KINDS[gate.reason].probe is Probe.ROW
    return by_row and gate.probe_at is not None and gate.probe_at <= now


def _classes(batch: Batch, book: dict[str, int]) -> list[str] | None:
    """The price classes within the batch's highest price; None without one."""
    most = batch.max_price_nanos
    return None if most is None else [name for name, price in book.items() if price <= most]


def _next_chunk(
    tx: Tx,
    context: Context,
    batch: Batch,
    book: dict[str, int],
    *,
    size: int,
    probe: bool,
) -> Chunk | None:
    """The batch's next rows that the budget allows, reserved; None where there are none.

    What may have been charged goes first: it takes no new money, and frees what it holds.
    """
    if size <= 0:
        return None
    rows = _reasks(tx, context, batch, size) or _first_sends(tx, context, batch, book, size)
    if not rows:
        return None
    length = context.prompt_excerpt
    chunk = Chunk(
        id=uuid.uuid4().hex,
        batch_id=batch.id,
        title=batch.title,
        item_ids=tuple(row.item_id for row in rows),
        first=rows[0].position,
        last=rows[-1].position,
        excerpt=claims.excerpt(tx, rows[0].item_id, length) if length else "",
        probe=probe,
    )
    claims.reserve(tx, chunk, until=tx.now + context.timing.reserve)
    batches.serve(tx, batch.id, len(rows))
    return chunk


def _reasks(tx: Tx, context: Context, batch: Batch, size: int) -> list[Next]:
    found = claims.next_items(tx, batch.id, size, state=State.UNKNOWN, account=context.account)
    return _alike(found, size)


def _alike(found: list[Next], size: int) -> list[Next]:
    """Rows that have seen the same number of deaths, as many as may share a chunk."""
    if not found:
        return []
    lapses = found[0].lapses
    return [row for row in found if row.lapses == lapses][: isolation.chunk_limit(size, lapses)]


def _first_sends(
    tx: Tx, context: Context, batch: Batch, book: dict[str, int], size: int
) -> list[Next]:
    """What goes out for the first time; stops the batch where its money or time does not reach."""
    classes = _classes(batch, book)
    left = batch.rows_left
    find = partial(
        claims.next_items,
        tx,
        batch.id,
        state=State.PENDING,
        canary=batch.canary_phase is Phase.TRYING,
    )
    if passed(batch.deadline_at, tx.now):
        if find(limit=1):
            message = "its deadline has passed"
            batches.stop(tx, batch.id, Stop.DEADLINE, message, actor=context.actor)
        return []
    size = min(size, left) if left else size
    found = find(limit=size, price_classes=classes, first_sends=left != 0)
    if not found:
        if left == 0 and find(limit=1):
            message = f"{batch.sent_rows:,} rows were sent, as many as the limit allows"
            batches.stop(tx, batch.id, Stop.LIMIT, message, actor=context.actor)
        elif classes is not None and find(limit=1):
            most = to_usd(batch.max_price_nanos or 0)
            message = f"the rows left cost more than {most} USD, or nobody knows"
            batches.stop(tx, batch.id, Stop.MAX_PRICE, message, actor=context.actor)
        return []
    found = _alike(found, size)
    moving = lives.moving_hold(tx, batch)
    granted = budget.holds(
        [book.get(row.price_class) for row in found],
        free_nanos=batch.free_nanos,
        held_nanos=moving,
    )
    rows = [row for row, hold in zip(found, granted, strict=True) if hold is not None]
    if not rows and moving == 0:
        message = "the budget does not cover another row"
        batches.stop(tx, batch.id, Stop.BUDGET, message, actor=context.actor)
    if rows and batch.stop_code:
        batches.clear_stop(tx, batch.id, batch.stop_code)
    return rows
