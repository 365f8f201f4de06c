"""Batches as rows of Flower's task list: events like a task's, sent again on each tick."""

from __future__ import annotations

from collections.abc import Iterable

from celery.events import EventDispatcher

from orchestrator.services.overview import Phase, Row
from workers.app import app

HOSTNAME = "batches@orchestrator"


def send(rows: Iterable[Row]) -> int:
    """Tell whoever listens how each batch stands; returns how many were told of.

    Nobody may listen, and a Flower that starts later hears the next tick.
    """
    told = 0
    with app.connection_for_write() as connection:
        dispatcher = EventDispatcher(
            connection, hostname=HOSTNAME, enabled=True, buffer_while_offline=False
        )
        for row in rows:
            _send(dispatcher, row)
            told += 1
        dispatcher.close()
    return told


def _send(dispatcher: EventDispatcher, row: Row) -> None:
    shown = {"uuid": row.id, "name": row.name, "args": row.args, "kwargs": row.kwargs}
    dispatcher.send("task-received", **shown, timestamp=row.received)
    if row.reopened:
        # After an end only a retry lets Flower show a task as going on.
        dispatcher.send("task-retried", **shown)
    match row.phase:
        case Phase.RUNNING:
            dispatcher.send("task-progress", **shown, result=row.result)
        case Phase.SUCCEEDED:
            dispatcher.send("task-succeeded", **shown, result=row.result, runtime=row.runtime)
        case Phase.FAILED:
            dispatcher.send(
                "task-failed", **shown, exception=row.result, result=row.result, runtime=row.runtime
            )
