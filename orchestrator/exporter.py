"""What `orchestrator metrics serve` serves: the figures, and whether what they need is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import redis

from orchestrator import places
from orchestrator.errors import OrchestratorError
from orchestrator.runtime import make_context
from orchestrator.services.measuring import Measurer
from orchestrator.settings import Settings
from orchestrator.store import schema
from orchestrator.store.engine import Store
from orchestrator.telemetry import exposition, queues
from orchestrator.telemetry.server import Make, Page

QUEUES = ("submit", "poll", "ticks")
_BROKER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Exporter:
    """An installation that is looked at; nothing of it needs to be there yet."""

    store: Store
    broker: redis.Redis
    measurer: Measurer

    def pages(self) -> Mapping[str, Make]:
        return {"/metrics": self._metrics, "/healthz": _alive, "/readyz": self._ready}

    def close(self) -> None:
        self.broker.close()
        self.store.close()

    def _metrics(self) -> Page:
        return Page(exposition.render(self.measurer.families()), exposition.CONTENT_TYPE)

    def _ready(self) -> Page:
        """Whether the database answers, at a revision that is ours, and the broker answers."""
        problems: dict[str, str | None] = {"database": None, "broker": None}
        try:
            schema.check(self.store)
        except OrchestratorError as error:
            problems["database"] = f"{error.message}. {error.mend}"
        if queues.depths(self.broker, QUEUES) is None:
            problems["broker"] = "it does not answer. Check ORCHESTRATOR_BROKER_URL."
        bad = any(problems.values())
        return Page(
            json.dumps({"ready": not bad} | problems).encode() + b"\n",
            "application/json",
            HTTPStatus.SERVICE_UNAVAILABLE if bad else HTTPStatus.OK,
        )


def _alive() -> Page:
    return Page(b"ok\n")


def make_exporter(settings: Settings) -> Exporter:
    """The caller closes it. Raises ConfigError where there is no installation to look at."""
    if settings.database_url_setting is None:
        places.installation_id(settings.data_dir)
    store = Store(settings.database_url)
    broker = redis.Redis.from_url(
        settings.redis_url, socket_connect_timeout=_BROKER_SECONDS, socket_timeout=_BROKER_SECONDS
    )
    measurer = Measurer(make_context(settings, store), lambda: queues.depths(broker, QUEUES))
    return Exporter(store, broker, measurer)
