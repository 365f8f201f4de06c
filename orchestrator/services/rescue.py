"""Finding what was left behind: lapsed leases, dead workers, keys grown too old."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from orchestrator.domain import submission
from orchestrator.services import presence
from orchestrator.services.context import Context
from orchestrator.store import claims, lives
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """How many submissions were found."""

    lapsed: int
    expired: int


def run_once(context: Context) -> Report:
    """Make lapsed submissions `unknown`, to be asked again under the same key."""
    dead = presence.dead(context.presence)
    with context.store.write() as tx:
        lost = lives.lapsed(tx, dead)
        decided = [(stored, submission.lapse(stored.life, now=tx.now)) for stored in lost]
        lives.record(tx, decided, actor=context.actor)
        asking = lives.polled_by(tx, dead)
        polls = [(stored, submission.lapse_poll(stored.life, now=tx.now)) for stored in asking]
        lives.record(tx, polls, actor=context.actor)
        old = claims.with_expired_keys(tx, context.policy)
        expired = [(stored, submission.expire_key(stored.life)) for stored in old]
        lives.record(tx, expired, actor=context.actor)
    presence.bury(context.presence, dead)
    if lost or polls or old:
        found = about(lapsed=len(lost), polls=len(polls), keys_expired=len(old), dead=len(dead))
        _log.warning("leases of workers that are gone, or keys grown too old", extra=found)
    return Report(len(lost), len(old))
