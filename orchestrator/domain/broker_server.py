"""Whether a Redis or Valkey server can be the broker, and what it may lose.

The floor is Redis 6.2, which every Valkey is above. The rate limiter's scripts ask the server for
its time before they write, which needs 5; the client greets with HELLO, which needs 6; 6.0 is no
longer looked after by anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.domain.findings import Finding, bad, ok, warning

OLDEST = (6, 2)
KEEPS = "noeviction"
BROKER = "broker"
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """What the server says of itself; None where it does not say."""

    name: str
    version: str
    """Of the Redis that it is, or is compatible with."""
    policy: str | None
    max_bytes: int
    """0 is no limit."""
    used_bytes: int
    appends: bool
    snapshots: bool | None
    password: bool = True
    local: bool = True
    encrypted: bool = False


def version_of(text: str) -> tuple[int, int]:
    """(6, 2) of `6.2.14`; (0, 0) of what is no version."""
    parts = [part for part in text.split(".")[:2] if part.isdigit()]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else (0, 0)


def fit_to_work(server: BrokerServer) -> Iterator[Finding]:
    """What keeps us from working with it at all."""
    if version_of(server.version) < OLDEST:
        yield bad(
            BROKER,
            f"the broker is {server.name} {server.version}, which is too old; "
            f"{OLDEST[0]}.{OLDEST[1]} is the oldest that will do",
            "Upgrade the server, or let ORCHESTRATOR_BROKER_URL name a newer one.",
            code="broker_too_old",
        )
    if server.policy not in {KEEPS, None}:
        yield bad(
            BROKER,
            f"the broker throws keys away when memory is short (maxmemory-policy {server.policy}): "
            "messages, and the request rate of the whole fleet, would vanish unseen",
            f"CONFIG SET maxmemory-policy {KEEPS} (and in its configuration file), or give the "
            "orchestrator a server of its own.",
            code="broker_evicts",
        )


def safety(server: BrokerServer) -> Iterator[Finding]:
    """What a restart or a full memory would cost: time, never money."""
    if not server.appends and server.snapshots is False:
        yield warning(
            "broker's memory",
            "the broker keeps nothing on disk: a restart forgets all messages and the pace, and "
            "rows wait up to 20 s until they are dispatched again",
            "CONFIG SET appendonly yes (and in its configuration file).",
        )
    elif server.max_bytes and server.used_bytes > _NEARLY_FULL * server.max_bytes:
        share = 100 * server.used_bytes // server.max_bytes
        yield warning(
            "broker's memory",
            f"{share} % of the broker's maxmemory is in use: when it is full, nothing is sent",
            "Raise maxmemory, or find what else fills it.",
        )
    else:
        kept = "an append-only file" if server.appends else "snapshots"
        yield ok("broker's memory", f"kept in {kept}")
    if not server.local:
        if not server.password:
            yield warning(
                "broker link",
                "the broker lets anybody in who reaches it, and takes tasks from them",
                "Set a password (requirepass or an ACL), and put it into ORCHESTRATOR_BROKER_URL.",
            )
        if not server.encrypted:
            yield warning(
                "broker link",
                "messages and the broker's password travel unencrypted",
                "Use rediss:// in ORCHESTRATOR_BROKER_URL, or a network that nobody else sees.",
            )
