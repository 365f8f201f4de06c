"""Celery's configuration, from the settings alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import schedstate, schedule

from orchestrator.settings import Settings

SUBMIT, POLL, TICKS = "submit", "poll", "ticks"
DISPATCH = "workers.dispatch"
TICK_SECONDS = {
    DISPATCH: 1.0,
    "workers.poll": 1.0,
    "workers.finish": 1.0,
    "workers.rescue": 2.0,
    "workers.probe": 5.0,
    "workers.progress": 2.0,
    "workers.learn": 5.0,
    "workers.notify": 5.0,
    "workers.schedule": 5.0,
    "workers.sweep": 600.0,
}
"""Every tick is idempotent on the database, so doubled beats and late messages are harmless.

Their messages do not expire: Celery would compare the beat's clock with the worker's, and with
clocks apart no tick would ever run. `workers.verbs` passes over what has piled up.
"""


class Every(schedule):
    """Every so many seconds, as Celery's own, without its care for time zones: most of its cost."""

    def is_due(self, last_run_at: datetime) -> Any:
        left = self.seconds - (datetime.now(UTC) - last_run_at).total_seconds()
        return schedstate(is_due=left <= 0, next=self.seconds if left <= 0 else left)


def configuration(settings: Settings) -> dict[str, object]:
    """Messages are hints: acknowledged late, no results kept, one fetched at a time."""
    return {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "socket_connect_timeout": 5,
            "socket_keepalive": not settings.embedded_broker,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_default_queue": TICKS,
        "task_routes": {
            "workers.submit_chunk": {"queue": SUBMIT},
            "workers.poll_chunk": {"queue": POLL},
        },
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        # What beat sends would bury the batches in Flower; what a worker receives is told of by it.
        "task_send_sent_event": False,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "beat_max_loop_interval": 1,
        "beat_scheduler": "workers.beat:SigningScheduler",
        "beat_schedule": {
            name: {
                "task": name,
                "schedule": Every(timedelta(seconds=seconds)),
                "options": {"queue": TICKS},
            }
            for name, seconds in TICK_SECONDS.items()
        },
        "timezone": "UTC",
    }
