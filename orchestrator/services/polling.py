"""Asking how the tasks are doing: claim what is due, ask, record."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from orchestrator.domain.outcome import AskLater, Detail, PollOutcome
from orchestrator.services import capping, recording, turns
from orchestrator.services.context import Context
from orchestrator.services.desk import Desk
from orchestrator.store import lives
from orchestrator.store.lives import Stored

HORIZON_MS = 1_000
"""The tick's interval: what falls due before the next tick goes along, and waits in its chunk."""
CHUNK_SIZE = 100
MOST_CHUNKS = 20
"""That wait to be begun: where nobody polls fast enough, more would only fill the broker."""
LEASE_MS = 60_000
PATIENCE_SECONDS = 15.0
"""The longest a poll waits for its turn; the lease outlasts it and a request."""


def run_once(context: Context, publish: Callable[[str, int, str], None]) -> int:
    """Lease what is due to poll chunks and send their messages; returns how many chunks.

    A message that gets lost leaves a lease that lapses; a doubled one finds the lease gone. Each
    task is asked about with the key that bought it.
    """
    return sum(_lease_due(context, account.id, publish) for account in context.accounts)


def _lease_due(context: Context, account: str, publish: Callable[[str, int, str], None]) -> int:
    with context.store.read() as tx:
        room = MOST_CHUNKS - lives.waiting_poll_chunks(tx, account)
    sent = 0
    lapsed = True
    while sent < room:
        token = uuid.uuid4().hex
        with context.store.write() as tx:
            leased = lives.lease_for_polling(
                tx,
                account=account,
                until=tx.now + context.timing.reserve,
                horizon=tx.now + HORIZON_MS,
                limit=CHUNK_SIZE,
                token=token,
                lapsed=lapsed,
            )
        if leased:
            publish(token, leased, account)
            sent += 1
        elif lapsed:
            lapsed = False
        else:
            break
    return sent


async def run_chunk(desk: Desk, token: str, *, refill: Callable[[], object] = lambda: None) -> int:
    """Poll the submissions under a lease; returns how many answers were recorded.

    `refill` is done whenever ends are on record; what it raises is raised at the end.
    """
    held, now, limited = await asyncio.to_thread(_held, desk, token)
    if not held:
        return 0
    moment = recording.SHORT_MOMENT_SECONDS if limited else recording.MOMENT_SECONDS
    recorder = recording.Recorder(desk, token, held, now=now, moment=moment)
    beside = asyncio.create_task(_refill(recorder.freed, refill))
    try:
        async with recorder.running(), asyncio.TaskGroup() as group:
            for stored in held:
                group.create_task(_poll(desk, stored, now, recorder))
    finally:
        await beside
    return recorder.recorded


async def _refill(freed: asyncio.Queue[bool], refill: Callable[[], object]) -> None:
    while await freed.get():
        await asyncio.to_thread(refill)


def _held(desk: Desk, token: str) -> tuple[list[Stored], int, bool]:
    """What is to be asked about, the database's time, whether only so many may be in flight."""
    with desk.context.store.write() as tx:
        until = tx.now + LEASE_MS + desk.context.timing.request
        lives.own_poll_lease(tx, token, desk.owner, until=until)
        limited = bool(capping.limit(tx, desk.context, desk.account))
        return lives.under_lease(tx, token), tx.now, limited


async def _poll(desk: Desk, stored: Stored, now: int, recorder: recording.Recorder) -> None:
    await asyncio.sleep(max(0, stored.life.due_at - now) / 1000)
    outcome = await _ask(desk, stored, recorder)
    recorder.put(stored.id, recording.Polled(outcome))


async def _ask(desk: Desk, stored: Stored, recorder: recording.Recorder) -> PollOutcome:
    deadline = desk.monotonic() + PATIENCE_SECONDS
    turn = await turns.take(desk, lambda: deadline - desk.monotonic(), buys=False)
    if isinstance(turn, str):
        return AskLater(Detail(message=turn), retry_after=5.0)
    began = desk.wall()
    outcome = await desk.client.task(stored.life.task_id or "")
    recorder.times[stored.id] = began, desk.wall()
    await turns.heed(desk, turn, outcome, buys=False)
    return outcome
