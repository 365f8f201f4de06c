"""doctor --fleet: what is missing or unsafe in a fleet, seen from any of its machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import httpx

from orchestrator import __version__, machine
from orchestrator.domain import broker_server, clocks, database_server, fleet
from orchestrator.domain.findings import Finding, bad, ok, warning
from orchestrator.domain.fleet import Member
from orchestrator.errors import OrchestratorError
from orchestrator.limits import server as broker
from orchestrator.runtime import open_store
from orchestrator.settings import DEFAULT_BASE_URL, LOOPBACK, Settings
from orchestrator.store import schema, server, workers
from orchestrator.store.engine import Store

QUEUES = ("submit", "poll", "ticks")
_FLOWER_SECONDS = 3.0


def findings(settings: Settings) -> list[Finding]:
    """Everything that is looked at beyond what `doctor` shows anyway."""
    looks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("database", _database),
        ("broker's memory", _broker),
        ("secrets", _secrets),
        ("Flower", _flower),
        ("address", _address),
    )
    return [finding for check, look in looks for finding in _kept(check, look, settings)]


def _kept(
    check: str, look: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look(settings))
    except OrchestratorError as error:
        found.append(bad(check, error.message, error.mend, code=error.code))
    return found


def _database(settings: Settings) -> Iterator[Finding]:
    """The server's safety, then what workers say in its tables."""
    if settings.database_url_setting is None:
        yield bad(
            "database",
            "the embedded database serves one machine only",
            "Set ORCHESTRATOR_DATABASE_URL to a PostgreSQL that all machines reach.",
        )
        if not settings.data_dir.exists():
            return
    store = open_store(settings)
    try:
        members, beats = _signs(store)
        with store.read() as tx:
            said = server.about(tx)
        if said is not None:
            wanted = fleet.connections_of(members)
            yield from database_server.safety(said, wanted_connections=wanted)
        if (skew := server.skew(store)) is not None:
            yield clocks.judge(skew, "this machine")
    finally:
        store.close()
    yield from fleet.examine(members, beats, version=__version__, queues=QUEUES)


def _signs(store: Store) -> tuple[list[Member], list[str]]:
    """Who is alive; nobody can be told of in tables that are not there yet."""
    if schema.is_old(store):
        return [], []
    with store.read() as tx:
        return workers.members(tx), workers.beats(tx)


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_broker:
        yield bad(
            "broker's memory",
            "the embedded broker serves one machine only",
            "Set ORCHESTRATOR_BROKER_URL to a Redis or Valkey that all machines reach.",
        )
        return
    yield from broker_server.safety(broker.about(settings.redis_url))


def _secrets(_settings: Settings) -> Iterator[Finding]:
    """Of this process; workers tell of theirs with their signs of life."""
    plain = machine.plain_secrets(os.environ)
    for name in plain:
        yield fleet.plain_secret(name, "this machine")
    if not plain:
        yield ok("secrets", "none in this process's environment")


def _flower(settings: Settings) -> Iterator[Finding]:
    if os.environ.get("FLOWER_UNAUTHENTICATED_API", "").lower() in {"1", "true", "yes"}:
        yield bad(
            "Flower",
            "FLOWER_UNAUTHENTICATED_API lets anybody steer the workers",
            "Unset it.",
        )
    if settings.flower_basic_auth is None:
        yield warning(
            "Flower",
            "FLOWER_BASIC_AUTH is not set here: Flower makes a log-in up at each start, and prints "
            "it into its log",
            "Put user:password into a file, and name it in FLOWER_BASIC_AUTH_FILE.",
        )
    yield _flower_here(settings.flower_port)


def _flower_here(port: int) -> Finding:
    """Whether the one on this machine asks who is there."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/workers", timeout=_FLOWER_SECONDS)
    except httpx.HTTPError:
        return ok("Flower", f"none on this machine at port {port}")
    if answer.status_code == httpx.codes.OK:
        return bad(
            "Flower",
            f"what answers at port {port} of this machine shows its pages without a log-in",
            "Start it with FLOWER_BASIC_AUTH=user:password.",
        )
    return ok("Flower", f"asks for a log-in at port {port} of this machine")


def _address(settings: Settings) -> Iterator[Finding]:
    host = httpx.URL(settings.base_url).host
    if host in LOOPBACK:
        yield warning(
            "address",
            f"{settings.base_url} is on each machine itself: a sandbox?",
            "Unset MINDVIDEO_BASE_URL to send to the provider.",
        )
    elif settings.base_url != DEFAULT_BASE_URL:
        yield warning(
            "address",
            f"{settings.base_url} is not the provider's own address",
            f"Unset MINDVIDEO_BASE_URL, unless {host} is meant.",
        )
    else:
        yield ok("address", settings.base_url)
