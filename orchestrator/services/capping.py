"""How many tasks may be in flight: what a person has set, and what refusals have taught."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from orchestrator.domain import learned_cap
from orchestrator.domain.in_flight import NO_LIMIT, InFlight, model_of
from orchestrator.services.context import Context
from orchestrator.store import claims, refusals
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Stored
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)
_SAMPLE = 100


def limit(tx: Tx, context: Context, account: str) -> InFlight:
    """The account's limit as it is now."""
    configured = context.accounts.of(account)
    known = refusals.known(tx, context.provider, account)
    caps = {model: learned_cap.cap(refusal, tx.now) for model, refusal in known.items()}
    learned = {model: number for model, number in caps.items() if number is not None}
    return (configured.in_flight if configured else NO_LIMIT).lowered(learned)


def at_cap(tx: Tx, context: Context, account: str) -> frozenset[str]:
    """Models of which a request that is refused now is one task too many, not sent too fast.

    Asked when a chunk is claimed: what it will send is counted as in flight.
    """
    known = refusals.known(tx, context.provider, account)
    if not any(learned_cap.cap(refusal, tx.now) is not None for refusal in known.values()):
        return frozenset()
    running = claims.in_flight(tx, account)
    return frozenset(
        model
        for model, refusal in known.items()
        if learned_cap.explains(refusal, running[model], tx.now)
    )


def note(tx: Tx, context: Context, account: str, refused: Iterable[Stored]) -> None:
    """Remember what was in flight of these purchases' models, which were refused with a 429."""
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for stored in refused:
        classes[model_of(stored.price_class)].add(stored.price_class)
    if not classes:
        return
    known = refusals.known(tx, context.provider, account)
    taken = claims.in_flight(tx, account) - claims.sending(tx, account)
    for model, names in sorted(classes.items()):
        before = known.get(model)
        age = refusals.mean_age(tx, account, sorted(names), _SAMPLE)
        after = learned_cap.note(before, number=taken[model], age=age, now=tx.now)
        refusals.put(tx, context.provider, account, model, after)
        if after.hold and not (before and learned_cap.cap(before, tx.now)):
            told = about(account=account, model=model, in_flight=after.number)
            _log.warning("the provider refuses more tasks than are in flight", extra=told)
