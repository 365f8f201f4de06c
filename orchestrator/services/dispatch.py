"""Expanding items into submit tasks: late, fairly, and only as many as workers will soon take."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from orchestrator.domain import budget, isolation
from orchestrator.domain.account import Account
from orchestrator.domain.batch import Stop
from orchestrator.domain.canary import Phase
from orchestrator.domain.deadline import passed
from orchestrator.domain.gate import KINDS, Probe
from orchestrator.domain.in_flight import PLENTY, Room, model_of
from orchestrator.domain.money import to_usd
from orchestrator.domain.states import State
from orchestrator.services import capping
from orchestrator.services.context import Context
from orchestrator.store import batches, claims, gates, lineage, lives, prices, workers
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk, Next
from orchestrator.store.engine import Tx
from orchestrator.store.gates import Gate

CHUNKS_AHEAD = 2
"""Unstarted chunks per worker process: one to start next, one behind it."""
CHUNK_SECONDS = 20.0
"""A chunk should not take longer than this at the limiter."""
CHUNK_SECONDS_OF_SEVERAL = 5.0
"""The same where other accounts wait for the process meanwhile."""
BEGUN_LATELY_MS = 20_000
"""A row that was claimed before waits for no turn any more."""
SECONDS_AHEAD = 3.0
"""Of several accounts one is given no further chunk while this much of its rate is at work."""


def run_once(context: Context, publish: Callable[[Chunk], None]) -> int:
    """Reserve chunks and send their messages; returns how many.

    Idempotent and harmless when doubled: what is reserved is not reserved again, and a message
    that gets lost frees its rows when the reservation ends.
    """
    if not context.accounts:
        return 0
    with context.store.write() as tx:
        claims.dispatch_alone(tx)
        chunks = _reserve(tx, context)
    for chunk in chunks:
        publish(chunk)
    return len(chunks)


def refill(context: Context, account: str, publish: Callable[[Chunk], None]) -> int:
    """The same at once, where the account may have only so many in flight and some have ended."""
    with context.store.read() as tx:
        limited = bool(capping.limit(tx, context, account))
    return run_once(context, publish) if limited else 0


@dataclass(slots=True)
class _Way:
    """What may be sent with an account now: `size` rows in a chunk, `ahead` in all."""

    account: Account
    room: Room
    size: int
    ahead: int | None
    probing: list[Gate]
    """Closed gates that one row tries; nothing else is sent meanwhile."""

    def take(self, tx: Tx, rows: Sequence[Next]) -> None:
        """Count what a chunk takes away from it."""
        # What is asked again is in flight already.
        first = [row for row in rows if row.state is State.PENDING]
        self.room = self.room.less(model_of(row.price_class) for row in first)
        if self.ahead is not None:
            self.ahead = max(0, self.ahead - len(rows))
        for gate in self.probing:
            gates.postpone_probe(tx, gate.id, tx.now + KINDS[gate.reason].probe_every)
            self.ahead = 0


def _ways(tx: Tx, context: Context) -> dict[str, _Way]:
    """Account -> what may be sent with it, for those with which something may."""
    found = {}
    for account in context.accounts:
        closed = gates.closed(tx, context.provider, account.id)
        probing = [gate for gate in closed if _row_may_try(gate, tx.now)]
        if len(probing) == len(closed):
            found[account.id] = _way(tx, context, account, probing)
    return found


def _way(tx: Tx, context: Context, account: Account, probing: list[Gate]) -> _Way:
    several = len(context.accounts) > 1
    limit, ahead = capping.limit(tx, context, account.id), None
    longest = CHUNK_SECONDS_OF_SEVERAL if several else CHUNK_SECONDS
    size = account.chunk_rows(context.timing.chunk_size, seconds=longest)
    if several and account.requests_per_second is not None:
        begun = tx.now + context.timing.lease - BEGUN_LATELY_MS
        ahead = max(0, _ahead(account) - claims.at_work(tx, account.id, leased_beyond=begun))
    room = limit.room(claims.in_flight(tx, account.id)) if limit else PLENTY
    return _Way(account, room, 1 if probing else size, ahead, probing)


def _ahead(account: Account) -> int:
    """Rows at work from which on a process is better used for another account."""
    return account.rows_in(SECONDS_AHEAD) or 1


def _reserve(tx: Tx, context: Context) -> list[Chunk]:
    slots = CHUNKS_AHEAD * workers.submitting_processes(tx) - claims.unstarted(tx)
    if slots <= 0 or lineage.closed(tx) is not None:
        return []
    ways = _ways(tx, context)
    book = prices.known(tx, context.provider)
    chunks: list[Chunk] = []
    waiting = [batch for batch in claims.sendable_batches(tx) if batch.provider == context.provider]
    while waiting and slots > 0:
        batch = waiting.pop(0)
        chunk = _next_chunk(tx, context, batch, book, ways)
        if chunk is None:
            continue
        chunks.append(chunk)
        slots -= 1
        waiting.append(batch)
    served: Counter[int] = Counter()
    for chunk in chunks:
        served[chunk.batch_id] += len(chunk.item_ids)
    # At the end, and in one order: claims wait for whoever has written to their batch.
    for batch_id, rows in sorted(served.items()):
        batches.serve(tx, batch_id, rows)
    return chunks


def _row_may_try(gate: Gate, now: int) -> bool:
    by_row = KINDS[gate.reason].probe is Probe.ROW
    return by_row and gate.probe_at is not None and gate.probe_at <= now


def _classes(batch: Batch, book: dict[str, int]) -> list[str] | None:
    """The price classes within the batch's highest price; None without one."""
    most = batch.max_price_nanos
    return None if most is None else [name for name, price in book.items() if price <= most]


def _next_chunk(
    tx: Tx, context: Context, batch: Batch, book: dict[str, int], ways: Mapping[str, _Way]
) -> Chunk | None:
    """The batch's next rows that the budget allows, reserved; None where there are none.

    What may have been charged goes first: it takes no new money, and frees what it holds.
    """
    open_ways = {name: way for name, way in ways.items() if way.ahead != 0}
    rows = _reasks(tx, batch, open_ways)
    if rows:
        way = open_ways[rows[0].account or ""]
    else:
        own = context.accounts.named(batch.account)
        if own is None or own.id not in open_ways:
            return None
        way = open_ways[own.id]
        rows = _first_sends(tx, context, batch, book, way)
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
        probe=bool(way.probing),
        account=way.account.id,
    )
    claims.reserve(tx, chunk, until=tx.now + context.timing.reserve)
    way.take(tx, rows)
    return chunk


_lapses = attrgetter("lapses")


def _reasks(tx: Tx, batch: Batch, ways: Mapping[str, _Way]) -> list[Next]:
    """What may have been charged, of one account: each is asked with the key it was sent with."""
    if not ways:
        return []
    most = max(way.size for way in ways.values())
    found = claims.next_items(tx, batch.id, most, state=State.UNKNOWN, accounts=list(ways))
    if not found:
        return []
    way = ways[found[0].account or ""]
    same = [row for row in found if row.account == way.account.id]
    return isolation.sharing(same[: way.size], way.size, _lapses)


def _first_sends(
    tx: Tx, context: Context, batch: Batch, book: dict[str, int], way: _Way
) -> list[Next]:
    """What goes out for the first time; stops the batch where its money or time does not reach."""
    size = way.room.bound(way.size)
    if size == 0:
        return []
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
    full = way.room.full
    found = find(limit=size, price_classes=classes, first_sends=left != 0, without_models=full)
    if not found and full:
        # Perhaps there is more, of models whose tasks must end first.
        return []
    if not found:
        if left == 0 and find(limit=1):
            message = f"{batch.sent_rows:,} rows were sent, as many as the limit allows"
            batches.stop(tx, batch.id, Stop.LIMIT, message, actor=context.actor)
        elif classes is not None and find(limit=1):
            most = to_usd(batch.max_price_nanos or 0)
            message = f"the rows left cost more than {most} USD, or nobody knows"
            batches.stop(tx, batch.id, Stop.MAX_PRICE, message, actor=context.actor)
        return []
    fits = way.room.admits(model_of(row.price_class) for row in found)
    fitting = [row for row, fit in zip(found, fits, strict=True) if fit]
    found = isolation.sharing(fitting, size, _lapses)
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
