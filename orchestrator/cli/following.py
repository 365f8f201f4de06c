"""Watching a batch until it ends: one live screen on a terminal, NDJSON off it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

from rich.live import Live

from orchestrator.cli import screen
from orchestrator.cli.output import console, emit, on_terminal, say
from orchestrator.errors import ServiceError
from orchestrator.runtime import Runtime
from orchestrator.services import status
from orchestrator.services.status import BatchStatus
from orchestrator.store import batches, views
from orchestrator.store.batches import Batch

TERMINAL_SECONDS = 0.5
PIPE_SECONDS = 1.0
EXIT_ORDER = (2, 3, 5, 4, 1, 0)
"""Of several exit codes the first of these counts."""
PATIENCE_SECONDS = 60.0
"""How long a database that went away may take to come back before watching gives up."""


def first_of(codes: Iterable[int]) -> int:
    """Of several exit codes the one that counts."""
    return min(codes, key=EXIT_ORDER.index)


def read(runtime: Runtime, batch: Batch) -> BatchStatus:
    with runtime.context.store.read() as tx:
        return status.read(tx, runtime.context, batches.get(tx, batch.id))


def say_if_idle(now: BatchStatus) -> None:
    if now.idle:
        say("no worker is running; `orchestrator up` starts one and sends what waits")


def failures(runtime: Runtime, batch: Batch) -> list[tuple[str, str, str, int]]:
    with runtime.context.store.read() as tx:
        return views.failures(tx, batch.id)


def moments(
    runtime: Runtime, batch: Batch, pause: Callable[[float], None], interval: float
) -> Iterator[BatchStatus]:
    """The batch's status again and again, up to and with the one that is settled."""
    away_since: float | None = None
    while True:
        try:
            now = read(runtime, batch)
        except ServiceError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE_SECONDS:
                raise
            pause(interval)
            continue
        away_since = None
        yield now
        if now.settled:
            return
        pause(interval)


def follow(
    runtime: Runtime,
    batch: Batch,
    pause: Callable[[float], None] = time.sleep,
    *,
    json: bool = False,
    started: bool = False,
    beside: Callable[[], str] | None = None,
) -> BatchStatus:
    """Show the batch until it is settled; returns how it ended.

    `started`: its processes are being started by this command. `beside`: a line about what else
    this command does.
    """
    if json or not on_terminal():
        return _off(runtime, batch, pause)
    idle = ", its workers are starting" if started else ", but no worker is running"
    with Live(console=console(), refresh_per_second=4, transient=False) as live:
        for now in moments(runtime, batch, pause, TERMINAL_SECONDS):
            line = beside() if beside is not None else None
            shown = screen.batch_screen(now, failures(runtime, batch), idle=idle, beside=line)
            live.update(shown)
    return now


def _off(runtime: Runtime, batch: Batch, pause: Callable[[float], None]) -> BatchStatus:
    before: dict[str, object] | None = None
    for now in moments(runtime, batch, pause, PIPE_SECONDS):
        shape = now.as_json()
        if shape != before and not now.settled:
            emit("progress", **shape)
        before = shape
    return now


def watch_all(runtime: Runtime, *, json: bool = False) -> int:
    """`watch --all`: every batch that was open at the beginning, until all are settled."""
    with runtime.context.store.read() as tx:
        chosen = batches.lively(tx, since=tx.now)
    if not chosen:
        say("no batch is open")
        return 0
    shapes: dict[str, dict[str, object]] = {}
    terminal = on_terminal() and not json
    with Live(console=console(), refresh_per_second=4) if terminal else nullcontext() as live:
        while True:
            found = [read(runtime, batch) for batch in chosen]
            if live is not None:
                live.update(screen.batches_table(found))
            else:
                _emit_changes(found, shapes)
            if all(one.settled for one in found):
                return first_of([one.exit_code() for one in found])
            time.sleep(TERMINAL_SECONDS if terminal else PIPE_SECONDS)


def _emit_changes(found: Iterable[BatchStatus], shapes: dict[str, dict[str, object]]) -> None:
    for one in found:
        shape = one.as_json()
        if shapes.get(one.batch.title) != shape:
            emit("ended" if one.settled else "progress", **shape)
        shapes[one.batch.title] = shape


def watch(runtime: Runtime, batch: Batch, *, json: bool = False) -> int:
    """`watch` and `submit --watch`: follow, then say how it ended."""
    say_if_idle(read(runtime, batch))
    try:
        ended = follow(runtime, batch, json=json)
    except KeyboardInterrupt:
        say(f"the batch goes on without being watched; `orchestrator watch {batch.title}` again")
        raise
    if json or not on_terminal():
        emit("ended", **ended.as_json())
    return ended.exit_code()
