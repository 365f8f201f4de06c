"""Closing gates, mirroring them where senders look, and trying whether they still have a reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from orchestrator.domain.account import KEY_VARIABLE
from orchestrator.domain.gate import KINDS, Probe
from orchestrator.domain.outcome import (
    Ambiguous,
    Detail,
    Gated,
    GateReason,
    NotSent,
    SubmitOutcome,
)
from orchestrator.domain.submission import GateOrder
from orchestrator.errors import ServiceError
from orchestrator.services.context import Context
from orchestrator.services.desk import Desk
from orchestrator.store import gates
from orchestrator.store.engine import Tx
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)


def close(tx: Tx, context: Context, account: str, order: GateOrder) -> None:
    """Close the account's gate as an answer demands; a person reads `message` and `mend`."""
    kind = KINDS[order.reason]
    said = f": {order.detail.message}" if order.detail.message else ""
    status = f" ({order.detail.status})" if order.detail.status else ""
    wait = None if order.seconds is None else tx.now + round(order.seconds * 1000)
    message = f"{kind.sentence}{status}{said}"
    if gates.close(
        tx,
        provider=context.provider,
        account=account,
        model=gates.ANY_MODEL,
        reason=order.reason,
        message=message,
        mend=kind.mend_for(one.variable if (one := context.accounts.of(account)) else KEY_VARIABLE),
        until=wait,
        probe_at=tx.now + kind.probe_every if wait is None else None,
    ):
        seconds = None if order.seconds is None else round(order.seconds, 1)
        told = about(account=account, reason=order.reason, seconds=seconds)
        _log.warning("gate closed: %s", message, extra=told)


def open_all(tx: Tx, context: Context, account: str) -> None:
    """A probe passed: the account sends again."""
    for gate in gates.closed(tx, context.provider, account):
        if gates.open_gate(tx, gate.id):
            _log.info("gate opened", extra=about(account=account, reason=gate.reason))


def breaker_order(outcome: SubmitOutcome | NotSent) -> GateOrder:
    """What a run of failures that ended with this one demands."""
    detail = outcome.detail if isinstance(outcome, Ambiguous) else Detail()
    return GateOrder(GateReason.FAILING, detail, None)


async def mirror(desk: Desk, orders: Iterable[GateOrder], *, asks: bool = True) -> None:
    """Close the gate at the limiter too, where every sender of the fleet asks for its turn.

    `asks` False: where they close for a time, polls go on. The database is the truth; with the
    limiter out of reach nobody gets a turn anyway.
    """
    for order in orders:
        try:
            await desk.limiter.close(order.reason, order.seconds, asks=asks)
        except ServiceError:
            return


async def probe_once(desk: Desk) -> int:
    """Try the gates whose probe is due by asking for a task; returns how many opened."""
    due = await asyncio.to_thread(_due, desk)
    if not due:
        return 0
    answer = await desk.client.probe()
    if isinstance(answer, Gated):
        return 0
    await desk.limiter.open()
    return await asyncio.to_thread(_open, desk, due)


def _due(desk: Desk) -> list[int]:
    """Gates to try now; each is postponed at once, so that doubled ticks try it once."""
    context = desk.context
    with context.store.write() as tx:
        due = [
            gate
            for gate in gates.closed(tx, context.provider, desk.account)
            if KINDS[gate.reason].probe is Probe.ASK
            and gate.probe_at is not None
            and gate.probe_at <= tx.now
        ]
        for gate in due:
            gates.postpone_probe(tx, gate.id, tx.now + KINDS[gate.reason].probe_every)
        return [gate.id for gate in due]


def _open(desk: Desk, due: list[int]) -> int:
    with desk.context.store.write() as tx:
        opened = sum(gates.open_gate(tx, gate_id) for gate_id in due)
    if opened:
        _log.info("a probe passed", extra=about(account=desk.account, gates=opened))
    return opened
