"""What the verbs are given to work with; made once, by `orchestrator.runtime`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.account import Accounts
from orchestrator.domain.submission import Policy
from orchestrator.store.engine import Store
from orchestrator.telemetry.spans import Emit


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds, unless the name says otherwise."""

    request: int
    """The longest an exchange with the provider may take."""
    chunk_size: int
    """How many rows one task takes at a usual rate."""
    rejoin_grace: int = 30_000
    """How long nothing is sent at least after the database went back: for workers that it does not
    know of to come forward, and for those out of its reach to stop."""
    reserve: int = 20_000
    """How long a dispatched row waits for its message before it is dispatched again."""

    @property
    def lease(self) -> int:
        """Long enough for a full wait at the limiter and then a full request."""
        return 2 * self.request + 60_000


@dataclass(frozen=True, slots=True)
class Context:
    """The installation: its database, names and rules."""

    store: Store
    provider: str
    """The API's base URL: prices, gates and accounts belong to it."""
    accounts: Accounts
    """The API keys that are configured, by name and fingerprint; empty while there is none."""
    namespace: str
    actor: str
    policy: Policy
    timing: Timing
    presence: Path
    """Where this machine's worker processes hold their locks."""
    prompt_excerpt: int = 0
    """Letters of a chunk's first prompt that its message carries."""
    price_file: Path | None = None
    """What rows cost before the provider has said so; None without one."""
    spans: Emit | None = None
    """Where traces go; None where nobody wants them."""
    journal_dir: Path | None = None
    """Where this machine's journals are; None where there is no need to look into them."""
