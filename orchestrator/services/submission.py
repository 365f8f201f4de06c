"""Buying: claim a chunk, write the intents, send, record each answer as it comes.

The order of each purchase is invariant 1's: intent committed, intent journalled, POST, outcome
journalled, outcome committed. Whatever dies between two of these leaves a lease that lapses and a
key that is asked again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.domain import clocks
from orchestrator.domain.clocks import Skew
from orchestrator.domain.deadline import passed
from orchestrator.domain.identity import body_from_json
from orchestrator.domain.outcome import NotSent, SubmitOutcome
from orchestrator.domain.states import State
from orchestrator.domain.submission import key_trusted
from orchestrator.journal import Intent
from orchestrator.services import (
    capping,
    gatekeeping,
    recording,
    rejoining,
    telling,
    tracing,
    turns,
)
from orchestrator.services.context import Context
from orchestrator.services.desk import Desk
from orchestrator.services.records import batch_record
from orchestrator.store import batches, claims, gates, lineage, prices
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Candidate, Claimed
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Lease
from orchestrator.telemetry import logs

MARGIN_SECONDS = 2.0
"""What a lease must outlast a request by, for recording it."""
SOON_SECONDS = 2.0
"""How long a process waits for a gate to open, where there is nothing else that it could send."""
PATIENCE_OF_SEVERAL = 15.0
"""Seconds that rows wait at the limiter where other accounts wait for the process meanwhile."""


@dataclass(frozen=True, slots=True)
class ClaimedChunk:
    """What a worker holds: the batch as it was, the leases, and both clocks at the claim."""

    batch: Batch
    claims: tuple[Claimed, ...]
    lease: Lease
    now: int
    wall: float
    monotonic: float
    full: frozenset[str]
    """Models of which as many are in flight, these included, as the provider is known to take."""

    def at_cap(self, claimed: Claimed) -> bool:
        return claimed.item.model in self.full


async def run_chunk(
    desk: Desk,
    chunk_id: str,
    item_ids: Sequence[int],
    *,
    probe: bool,
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    """Send what is still claimable of a chunk; returns how many answers were recorded.

    `meanwhile` is done while the requests are on their way; what it raises is raised at the end.
    It is done again as soon as the provider has room again, where it refused a task too many.
    """
    held = await asyncio.to_thread(_take_on, desk, chunk_id, item_ids, probe=probe)
    beside = asyncio.create_task(asyncio.to_thread(meanwhile))
    try:
        if held is None:
            return 0
        recorder = await _send_all(desk, chunk_id, held, probe=probe)
    finally:
        await beside
    if 0 < recorder.shut <= SOON_SECONDS and len(desk.context.accounts) == 1:
        await asyncio.sleep(recorder.shut)
        await asyncio.to_thread(meanwhile)
    return recorder.recorded


def _take_on(
    desk: Desk, chunk_id: str, item_ids: Sequence[int], *, probe: bool
) -> ClaimedChunk | None:
    """Claim, and have the intents on the disk; None where nothing is left to be sent."""
    held = claim_chunk(desk, chunk_id, item_ids, probe=probe)
    if held is None or not held.claims:
        return None
    _journal_intents(desk, held)
    tracing.claimed(
        desk.context, [one.stored for one in held.claims], began=held.wall, ended=desk.wall()
    )
    return held


async def _send_all(
    desk: Desk, chunk_id: str, held: ClaimedChunk, *, probe: bool
) -> recording.Recorder:
    """Each claim's request, and its answer on record."""
    if probe:
        await desk.limiter.open()
    recorder = recording.Recorder(
        desk, held.lease.token, [one.stored for one in held.claims], now=held.now, probe=probe
    )
    with logs.bound(batch=held.batch.title, chunk=chunk_id):
        async with recorder.running(), asyncio.TaskGroup() as group:
            for claimed in held.claims:
                group.create_task(_buy(desk, held, claimed, recorder))
        telling.tell_chunk([one.item.position for one in held.claims], recorder.states)
    return recorder


def hand_back(context: Context, chunk_id: str, item_ids: Sequence[int]) -> int:
    """Give a chunk back whose account has no key here: another worker may have it."""
    with context.store.write() as tx:
        claims.started(tx, chunk_id)
        claims.release(tx, item_ids)
    return 0


def claim_chunk(
    desk: Desk, chunk_id: str, item_ids: Sequence[int], *, probe: bool
) -> ClaimedChunk | None:
    """Commit the intents: submissions, leases and holds, in one transaction.

    Raises ConfigError where this machine's clock is too far from the database's; the rows are
    dispatched again when their reservation ends, perhaps to another machine.
    """
    context = desk.context
    with context.store.write() as tx:
        if not context.store.is_sqlite:
            clocks.refuse_far(Skew(round(desk.wall() * 1000) - tx.now))
        claims.started(tx, chunk_id)
        found = claims.candidates(tx, item_ids)
        if not found:
            return None
        batch = batches.lock(tx, found[0].batch_id)
        barred = gates.closed(tx, context.provider, desk.account) and not probe
        elsewhere = batch.provider != context.provider
        behind = rejoining.bar(context) is not None or lineage.closed(tx) is not None
        if barred or elsewhere or behind or not batches.sends(batch):
            claims.release(tx, [item.item_id for item in found])
            return None
        found = _of_account(tx, desk, batch, found)
        limit = capping.limit(tx, context, desk.account)
        room = claims.room(tx, desk.account, limit) if limit else None
        lease = Lease(uuid.uuid4().hex, tx.now + context.timing.lease, desk.owner)
        claimed = claims.claim_items(
            tx,
            batch,
            found,
            {item.item_id: batch.key_of(item, item.generation) for item in found},
            prices=prices.known(tx, context.provider),
            lease=lease,
            account=desk.account,
            policy=context.policy,
            room=room,
            actor=context.actor,
        )
        full = capping.at_cap(tx, context, desk.account) if limit else frozenset()
        wall, monotonic = desk.wall(), desk.monotonic()
        return ClaimedChunk(batch, tuple(claimed), lease, tx.now, wall, monotonic, full)


def _of_account(tx: Tx, desk: Desk, batch: Batch, found: Sequence[Candidate]) -> list[Candidate]:
    """What this account may send: the first sends of its batches; the others are given back.

    Whether it may ask again for what is unknown depends on which key that was sent with.
    """
    account = desk.context.accounts.named(batch.account)
    if account is not None and account.id == desk.account:
        return list(found)
    foreign = [item.item_id for item in found if item.state is State.PENDING]
    claims.release(tx, foreign)
    return [item for item in found if item.state is not State.PENDING]


def _journal_intents(desk: Desk, held: ClaimedChunk) -> None:
    """All intents of the chunk, one fsync, before the first byte leaves."""
    batch = held.batch
    known = batch_record(batch, at=held.now)
    desk.journal.append(
        [
            known,
            *(
                Intent(
                    at=held.now,
                    idempotency_key=claimed.stored.idempotency_key,
                    namespace=batch.namespace,
                    batch=batch.name,
                    label=batch.label,
                    row_key=claimed.item.row_key,
                    generation=claimed.item.generation,
                    model=claimed.item.model,
                    digest=claimed.item.digest,
                    price_class=claimed.item.price_class,
                    hold_nanos=claimed.stored.life.hold_nanos,
                    key_fingerprint=desk.account,
                    try_=claimed.stored.life.tries,
                    claim=held.lease.token,
                )
                for claimed in held.claims
            ),
        ]
    )


async def _buy(
    desk: Desk, held: ClaimedChunk, claimed: Claimed, recorder: recording.Recorder
) -> None:
    outcome = await _send(desk, held, claimed, recorder)
    order = None
    if desk.breaker.trips(outcome):
        order = gatekeeping.breaker_order(outcome)
        # At once, before it is recorded: whoever waits for a turn must not get one.
        await gatekeeping.mirror(desk, [order])
    recorder.put(claimed.stored.id, recording.Sent(outcome, order, held.at_cap(claimed)))


async def _send(
    desk: Desk, held: ClaimedChunk, claimed: Claimed, recorder: recording.Recorder
) -> SubmitOutcome | NotSent:
    """Wait for a turn, look at the clocks once more, send."""
    turn = await turns.take(desk, lambda: _patience(desk, held), buys=True)
    if isinstance(turn, str):
        return NotSent(turn)
    reason = _too_late(desk, held, claimed) or rejoining.bar(desk.context)
    if recorder.stalled:
        reason = "the database is away, so an answer could not be recorded"
    if reason is not None:
        return NotSent(reason)
    body = body_from_json(claimed.item.model, claimed.item.input_json)
    began = desk.wall()
    outcome = await desk.client.submit(body, claimed.stored.idempotency_key)
    recorder.times[claimed.stored.id] = began, desk.wall()
    await turns.heed(desk, turn, outcome, buys=True, full=held.at_cap(claimed))
    return outcome


def _patience(desk: Desk, held: ClaimedChunk) -> float:
    """Seconds that a row may wait for its turn, so that no account holds a process for long."""
    left = _lease_left(desk, held)
    if len(desk.context.accounts) > 1:
        left = min(left, PATIENCE_OF_SEVERAL + held.monotonic - desk.monotonic())
    return left


def _lease_left(desk: Desk, held: ClaimedChunk) -> float:
    """Seconds in which a request may still start, by whichever clock says less."""
    elapsed = max(desk.wall() - held.wall, desk.monotonic() - held.monotonic)
    timing = desk.context.timing
    return (timing.lease - timing.request) / 1000 - elapsed - MARGIN_SECONDS


def _too_late(desk: Desk, held: ClaimedChunk, claimed: Claimed) -> str | None:
    """Immediately before the POST: is there still time, is the key remembered?"""
    if desk.wall() < held.wall or _lease_left(desk, held) <= 0:
        return "the lease would end before the request"
    now = held.now + round((desk.wall() - held.wall) * 1000)
    later = now + desk.context.timing.request
    if not key_trusted(claimed.stored.life, now=later, policy=desk.context.policy):
        return "the key is too old to be sent again"
    if not claimed.stored.life.unresolved and passed(held.batch.deadline_at, now):
        return "the batch's deadline has passed"
    return None
