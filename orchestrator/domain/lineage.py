"""Whether a database is still the one that was seen before, or went back to an older state. Pure.

A server that is restored from a backup, or replaced by a standby that had not received
everything, has lost its latest commits: what was bought meanwhile is known to the journals alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a server stood: its timeline, the end of its log in bytes, its clock in milliseconds.

    Within one timeline the log only grows, and what was committed before stands before its end.
    """

    timeline: int
    position: int
    at: int


def went_back(before: Sighting, now: Sighting) -> str | None:
    """Why what was committed by `before` may be lost in `now`; None where it is all there."""
    if now.timeline != before.timeline:
        return f"the database is on timeline {now.timeline} and was on {before.timeline}"
    if now.position < before.position:
        return "the database's log ends earlier than it did"
    return None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server says it is; `system` is empty where it does not say."""

    system: str
    timeline: int | None


def replaced(recorded: Identity, found: Identity) -> str | None:
    """Why the server is another than the database has noted of itself; None where it is not."""
    if recorded.timeline is None or found.timeline is None:
        return None
    if recorded.system and found.system and recorded.system != found.system:
        return "the database is on another server than it was"
    if recorded.timeline != found.timeline:
        return f"the database is on timeline {found.timeline} and was on {recorded.timeline}"
    return None
