"""The Celery app. `celery -A workers worker`, `beat` and `flower` all start here."""

from __future__ import annotations

import os
import sys

from celery import Celery
from celery.signals import setup_logging
from kombu import Exchange, Queue

from orchestrator import places
from orchestrator.errors import OrchestratorError
from orchestrator.settings import load_settings
from orchestrator.telemetry import logs
from workers import flower
from workers.config import POLL, SUBMIT, TICKS, configuration

_NAMES_ONLY = {"beat", "flower"}
"""Commands that know tasks by their names: they start in a fraction of the time without them."""


@setup_logging.connect
def _log(**_: object) -> None:
    """Celery's own records go where ours do."""
    logs.start(load_settings())


def _make() -> Celery:
    """Raises SystemExit with a short message where the settings cannot be used."""
    try:
        settings = load_settings()
        places.create_data_dir(settings.data_dir)
        login = flower.protect(sys.argv, os.environ, settings)
        if login is not None:
            print(f"Flower: log in as {login}; FLOWER_BASIC_AUTH sets another", flush=True)
        included = [] if _NAMES_ONLY & set(sys.argv) else ["workers.tasks", "workers.boot"]
        made = Celery("workers", include=included)
        made.conf.update(configuration(settings))
        # One exchange a queue: bound to a shared one, each message would reach all of them.
        made.conf.task_queues = [
            Queue(name, Exchange(name), routing_key=name) for name in (SUBMIT, POLL, TICKS)
        ]
    except OrchestratorError as error:
        print(f"{error.message}\n{error.mend}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    return made


app = _make()
