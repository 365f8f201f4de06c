"""What one worker process sends with for one account; who only looks makes do with `context`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.domain.breaker import Breaker
from orchestrator.journal import JournalWriter
from orchestrator.limits import RateLimiter
from orchestrator.provider import ProviderClient
from orchestrator.services.context import Context
from orchestrator.services.line import Line
from orchestrator.services.plans import Plans


@dataclass(frozen=True, slots=True)
class Desk:
    """What one worker process sends with. `wall` and `monotonic` are in seconds.

    Each account has a desk of its own: its key, its turns, its run of failures. What does not
    belong to an account is shared by a process's desks.
    """

    context: Context
    account: str
    """The fingerprint of the API key that `client` sends."""
    owner: str
    """This process's name on its leases; its presence lock bears it."""
    client: ProviderClient
    limiter: RateLimiter
    journal: JournalWriter
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    turn: Line = field(default_factory=Line)
    """Where purchases wait at the limiter: one asks for all, or they would all wake together."""
    ask_turn: Line = field(default_factory=Line)
    """The same for what buys nothing: polls never queue behind slowed submits."""
    breaker: Breaker = field(default_factory=Breaker)
    plans: Plans = field(default_factory=Plans)
    unrecorded: threading.Event = field(default_factory=threading.Event)
    """Set once an answer stands in the journal that the database did not take."""
