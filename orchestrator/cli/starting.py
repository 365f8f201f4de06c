"""What is looked at before processes are started for a person who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.cli.output import plural, say
from orchestrator.domain.account import Account
from orchestrator.domain.gate import KINDS
from orchestrator.domain.outcome import Gated
from orchestrator.errors import ConfigError
from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.runtime import Runtime, check_servers
from orchestrator.services.context import Context
from orchestrator.settings import Settings
from orchestrator.store import gates, views

REACH_SECONDS = 10.0


def look_at_gates(context: Context) -> None:
    """A person may have mended what closed a gate: have it tried at once."""
    with context.store.write() as tx:
        for account in context.accounts:
            gates.probe_now(tx, context.provider, account.id)


def say_what_else_is_sent(runtime: Runtime, *, besides: str = "") -> None:
    """Processes work for every open batch of the installation; nobody should be surprised."""
    with runtime.context.store.read() as tx:
        waiting = views.waiting_to_be_sent(tx, runtime.context.provider)
    for title, rows in waiting.items():
        if title != besides:
            say(
                f"note: {title} has {plural(rows, 'row')} waiting, which will be sent "
                f"(`orchestrator pause {title}` keeps them back)"
            )


def check_reachable(settings: Settings) -> None:
    """Raises ServiceError where broker or provider cannot be reached: better now than later.

    Raises ConfigError where the broker will not do.
    """
    check_own_servers(settings)
    asyncio.run(_ask_provider(settings, ProviderClient.reach))


def check_own_servers(settings: Settings) -> None:
    """Say what is worth a warning of database and broker. Raises ServiceError and ConfigError."""
    for finding in check_servers(settings):
        say(f"note: {finding.found}. {finding.mend}")


def check_key(settings: Settings, account: Account) -> None:
    """Raises ServiceError where the provider is out of reach, ConfigError where it refuses us."""

    async def ask(client: ProviderClient) -> None:
        await _try_key(client, account)

    asyncio.run(_ask_provider(settings, ask, settings.key_of(account)))


async def _ask_provider(
    settings: Settings, question: Callable[[ProviderClient], Awaitable[None]], api_key: str = ""
) -> None:
    client = ProviderClient(
        base_url=settings.base_url,
        api_key=api_key,
        timeouts=Timeouts(connect=REACH_SECONDS, total=REACH_SECONDS),
    )
    try:
        await question(client)
    finally:
        await client.aclose()


async def _try_key(client: ProviderClient, account: Account) -> None:
    await client.reach()
    outcome = await client.probe()
    if isinstance(outcome, Gated):
        kind = KINDS[outcome.reason]
        mend = kind.mend_for(account.variable)
        raise ConfigError(kind.sentence, mend=mend, code=outcome.reason.value)
