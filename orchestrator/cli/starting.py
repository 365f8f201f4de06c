"""What is looked at before processes are started for a person who waits."""

from __future__ import annotations

import asyncio

from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.services.context import Context
from orchestrator.settings import Settings
from orchestrator.store import gates

REACH_SECONDS = 10.0


def look_at_gates(context: Context) -> None:
    """A person may have mended what closed a gate: have it tried at once."""
    if context.account is not None:
        with context.store.write() as tx:
            gates.probe_now(tx, context.provider, context.account)


def check_reachable(settings: Settings) -> None:
    """Raises ServiceError where the provider cannot be reached at all: better now than later."""
    asyncio.run(_reach(settings))


async def _reach(settings: Settings) -> None:
    client = ProviderClient(
        base_url=settings.base_url,
        api_key=settings.require_api_key(),
        timeouts=Timeouts(connect=REACH_SECONDS, total=REACH_SECONDS),
    )
    try:
        await client.reach()
    finally:
        await client.aclose()
