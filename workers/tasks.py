"""The tasks: each hands its message to a verb and is done. Messages are hints; the verbs know."""

from __future__ import annotations

import random

from orchestrator.runtime import make_targets
from orchestrator.services import (
    dispatch,
    finishing,
    gatekeeping,
    learning,
    notifying,
    overview,
    polling,
    rescue,
    submission,
    sweeping,
)
from orchestrator.store.claims import Chunk
from workers import progress
from workers.app import app
from workers.config import DISPATCH, POLL, SUBMIT
from workers.process import current
from workers.verbs import Tick, Verb


@app.task(base=Verb, name="workers.submit_chunk")
def submit_chunk(chunk_id: str, item_ids: list[int], probe: bool, account: str) -> int:
    """Buy what is still to be bought of a chunk, with an account told by its key's fingerprint."""
    process = current()
    desk = process.desk(account)
    if desk is None:
        return submission.hand_back(process.context, chunk_id, item_ids)

    def dispatch_next() -> None:
        dispatch.run_once(process.context, publish_submit)

    return process.work(
        submission.run_chunk(desk, chunk_id, item_ids, probe=probe, meanwhile=dispatch_next)
    )


@app.task(base=Verb, name="workers.poll_chunk", send_events=False)
def poll_chunk(token: str, account: str) -> int:
    """Ask how the leased submissions are doing."""
    process = current()
    desk = process.desk(account)
    if desk is None:
        # Another worker asks, once the short lease is over.
        return 0

    def refill() -> None:
        dispatch.refill(process.context, account, publish_submit)

    return process.work(polling.run_chunk(desk, token, refill=refill))


@app.task(base=Tick, name=DISPATCH, send_events=False)
def dispatch_tick() -> int:
    return dispatch.run_once(current().context, publish_submit)


@app.task(base=Tick, name="workers.poll", send_events=False)
def poll_tick() -> int:
    return polling.run_once(current().context, publish_poll)


@app.task(base=Tick, name="workers.finish", send_events=False)
def finish_tick() -> int:
    return finishing.run_once(current().context)


@app.task(base=Tick, name="workers.rescue", send_events=False)
def rescue_tick() -> int:
    return rescue.run_once(current().context).lapsed


@app.task(base=Tick, name="workers.learn", send_events=False)
def learn_tick() -> int:
    return learning.run_once(current().context)


@app.task(base=Tick, name="workers.sweep", send_events=False)
def sweep_tick() -> int:
    return sweeping.run_once(current().context)


@app.task(base=Tick, name="workers.probe", send_events=False)
def probe_tick() -> int:
    process = current()
    return sum(process.run(gatekeeping.probe_once(desk)) for desk in process.desks())


@app.task(base=Tick, name="workers.progress", send_events=False)
def progress_tick() -> int:
    return progress.send(overview.rows(current().context))


@app.task(base=Tick, name="workers.notify", send_events=False)
def notify_tick() -> int:
    process = current()
    targets = make_targets(process.runtime.settings)
    return notifying.run_once(process.context, targets, random.SystemRandom().random)


@app.task(base=Tick, name="workers.schedule", send_events=False)
def schedule_tick() -> int:
    # It reads specs, with all that takes to import: nothing the processes that buy should wait for.
    from orchestrator.services import recurrence

    return recurrence.run_once(current().context).made


def publish_submit(chunk: Chunk) -> None:
    """Send a submit chunk's message, labelled for a person who reads it in Flower."""
    submit_chunk.apply_async(
        args=(chunk.id, list(chunk.item_ids), chunk.probe, chunk.account),
        queue=SUBMIT,
        argsrepr=f"{chunk.title} rows {chunk.first}-{chunk.last} {chunk.excerpt}".rstrip(),
        kwargsrepr=f"{len(chunk.item_ids)} rows",
    )


def publish_poll(token: str, number: int, account: str) -> None:
    poll_chunk.apply_async(
        args=(token, account), queue=POLL, argsrepr=f"{number} due", kwargsrepr=""
    )
