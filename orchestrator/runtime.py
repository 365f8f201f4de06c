"""The composition root: settings in, working parts out. Clocks and randomness enter here."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import places
from orchestrator.domain import clocks
from orchestrator.domain.findings import Finding, refuse_bad
from orchestrator.domain.submission import Policy
from orchestrator.errors import ConfigError
from orchestrator.services.context import Context, Timing
from orchestrator.settings import Settings, load_settings
from orchestrator.store import restoring, schema, server
from orchestrator.store.engine import Store
from orchestrator.store.patience import COMMAND, WORK, Patience
from orchestrator.store.tables import SCHEMA

CHUNK_SIZE = 50
if TYPE_CHECKING:
    # Commands that only look at the database do without the HTTP client's imports.
    from orchestrator.journal import JournalWriter
    from orchestrator.limits import RateLimiter
    from orchestrator.provider import ProviderClient, VideoClient
    from orchestrator.services.desk import Desk
    from orchestrator.services.notifying import Deliver
    from orchestrator.services.reconciling import Askers
    from orchestrator.telemetry.spans import Emit


@dataclass(frozen=True, slots=True)
class Runtime:
    """An opened installation."""

    settings: Settings
    context: Context
    new_data_dir: bool

    def close(self) -> None:
        if self.context.spans is not None:
            self.context.spans.close()
        self.context.store.close()


def open_runtime(
    *,
    create: bool = True,
    clock: Callable[[], int] | None = None,
    worker: bool = False,
    **overrides: object,
) -> Runtime:
    """Read the settings, open the database, bring the embedded one up to date.

    `create` False leaves the disk alone where nothing was ever submitted. `worker`: a process
    that works on and on, and for which the server was looked at when it was started. Raises
    ConfigError and ServiceError.
    """
    settings = load_settings(**overrides)
    new = False
    if create:
        new = places.create_data_dir(settings.data_dir)
        _note_home(settings)
    elif settings.database_url_setting is None:
        places.installation_id(settings.data_dir)
    store = open_store(
        settings, clock=clock, patience=WORK if worker else COMMAND, what="worker" * worker
    )
    if create and not worker:
        server.check(store)
    if settings.database_url_setting is None and schema.current(store) != SCHEMA:
        schema.upgrade(store)
    else:
        schema.check(store)
    return Runtime(settings, make_context(settings, store), new)


def open_store(
    settings: Settings,
    *,
    clock: Callable[[], int] | None = None,
    patience: Patience = COMMAND,
    what: str = "",
) -> Store:
    """The database of the settings; its server is told who connects. Raises ConfigError."""
    return Store(
        settings.database_url,
        clock=clock,
        patience=patience,
        application=f"orchestrator {what or 'command'} {socket.gethostname()}:{os.getpid()}",
        connections=settings.database_connections,
    )


def check_servers(settings: Settings, *, database: bool = True) -> list[Finding]:
    """Whether what the settings name can be worked with; returns what is worth a warning.

    Raises ConfigError where it cannot, ServiceError where a server is out of reach.
    """
    from orchestrator.domain import broker_server
    from orchestrator.limits import server as broker

    found: list[Finding] = []
    if database:
        store = open_store(settings)
        try:
            found += server.check(store)
            if (skew := server.skew(store)) is not None:
                clocks.refuse_far(skew)
                found += refuse_bad([clocks.judge(skew, "this machine")])
            if settings.database_url_setting is not None:
                schema.check(store)
        finally:
            store.close()
    if not settings.embedded_broker:
        said = broker.about(settings.redis_url)
        found += refuse_bad([*broker_server.fit_to_work(said), *broker_server.safety(said)])
    return found


def _note_home(settings: Settings) -> None:
    try:
        places.note_home(settings.journal_dir, settings.data_dir)
    except OSError as error:
        raise ConfigError(
            f"the journal directory {settings.journal_dir} cannot be written: {error.strerror}",
            mend="Give yourself write permission there, or set ORCHESTRATOR_JOURNAL_DIR.",
        ) from None


def make_context(settings: Settings, store: Store) -> Context:
    """What the verbs work with."""
    return Context(
        store=store,
        provider=settings.base_url,
        accounts=settings.accounts,
        namespace=settings.namespace,
        actor=settings.actor,
        policy=Policy(
            deadline=round(settings.task_deadline.total_seconds() * 1000),
            retention=round(settings.key_retention.total_seconds() * 1000),
        ),
        timing=Timing(
            request=round(settings.request_timeout.total_seconds() * 1000),
            chunk_size=CHUNK_SIZE,
            rejoin_grace=round(settings.rejoin_grace.total_seconds() * 1000),
        ),
        presence=settings.presence_dir,
        prompt_excerpt=settings.prompt_excerpt,
        price_file=settings.price_file,
        spans=_spans(settings),
        journal_dir=settings.journal_dir,
    )


def _spans(settings: Settings) -> Emit | None:
    """Where traces go; nothing of it is imported where none are wanted."""
    if settings.otlp_endpoint is None:
        return None
    from orchestrator.telemetry.otlp import Otlp

    return Otlp(settings.otlp_endpoint, settings.trace_headers())


def make_desks(settings: Settings, context: Context, owner: str) -> Desks:
    """What a worker process sends with, for each account; the caller closes client and journal."""

    from orchestrator.journal import JournalWriter
    from orchestrator.services.desk import Desk
    from orchestrator.services.plans import Plans

    def registered(name: str) -> None:
        with context.store.write() as tx:
            restoring.register_journal(tx, name, socket.gethostname())

    journal = JournalWriter(settings.journal_dir, created=registered)
    client, limiters = _client(settings), _limiters(settings)
    plans = Plans()
    desks = {
        account.id: Desk(
            context=context,
            account=account.id,
            owner=owner,
            client=client.with_key(settings.key_of(account)),
            limiter=limiters[account.id],
            journal=journal,
            wall=time.time,
            monotonic=time.monotonic,
            jitter=random.SystemRandom().random,
            plans=plans,
        )
        for account in settings.accounts
    }
    return Desks(desks, client, journal)


@dataclass(frozen=True, slots=True)
class Desks:
    """The desks of one process by account; their HTTP connections and their journal are one."""

    by_account: Mapping[str, Desk]
    client: ProviderClient
    journal: JournalWriter


def make_journal(settings: Settings) -> JournalWriter:
    """What a command writes a person's word with; the caller closes it."""
    from orchestrator.journal import JournalWriter

    return JournalWriter(settings.journal_dir)


def make_askers(settings: Settings) -> Askers:
    """What a command asks the provider with; the caller closes its client."""
    from orchestrator.services.reconciling import Asker, Askers

    client, limiters = _client(settings), _limiters(settings)
    by_account = {
        account.id: Asker(
            client=client.with_key(settings.key_of(account)),
            limiter=limiters[account.id],
            spacing=1 / rate if (rate := account.requests_per_second) else 0.0,
            variable=account.variable,
        )
        for account in settings.accounts
    }
    return Askers(by_account, client)


def _limiters(settings: Settings) -> dict[str, RateLimiter]:
    """Account -> its rate; all of them ask over the same connections."""
    import redis.asyncio

    from orchestrator.limits import RateLimiter

    server = redis.asyncio.Redis.from_url(settings.redis_url)
    return {
        account.id: RateLimiter(
            server,
            account=account.id,
            rate=account.requests_per_second,
            burst=_burst(account.requests_per_second),
        )
        for account in settings.accounts
    }


def make_video_client(settings: Settings) -> VideoClient:
    """What finished videos are fetched with; the caller closes it."""
    from urllib.parse import urlsplit

    from orchestrator.provider import VideoClient

    return VideoClient(
        read_seconds=settings.request_timeout.total_seconds(),
        allow_private=settings.download_allow_private,
        trusted=urlsplit(settings.base_url).hostname or "",
    )


def make_targets(settings: Settings) -> list[Deliver]:
    """Whom to tell of events."""
    from orchestrator.notify import Command, Webhook

    targets: list[Deliver] = []
    if settings.webhook_url and settings.webhook_secret:
        secret = settings.webhook_secret.get_secret_value()
        hook = Webhook(settings.webhook_url, secret, allow_private=settings.webhook_allow_private)
        targets.append(hook.deliver)
    if settings.notify_command:
        targets.append(Command(settings.notify_command).deliver)
    return targets


def _client(settings: Settings) -> ProviderClient:
    """Without a key of its own: each account sends with hers, over the same connections."""
    from orchestrator.provider import ProviderClient, Timeouts

    total = settings.request_timeout.total_seconds()
    return ProviderClient(
        base_url=settings.base_url,
        api_key="",
        timeouts=Timeouts(connect=min(10.0, total), total=total),
    )


def _burst(rate: float | None) -> int:
    return max(1, round(rate / 5)) if rate else 1
