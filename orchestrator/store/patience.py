"""How long PostgreSQL may take over a statement, a lock, or a transaction that nobody goes on with.

Told at the beginning of each transaction, together with the question for the time: that costs no
round trip, and holds behind a pooler that hands connections around. SQLite knows none of this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; 0 is without end."""

    statement: int
    lock: int
    idle: int
    """How long an open transaction may wait for its owner, who may have gone without a word."""


WORK = Patience(statement=30, lock=10, idle=60)
"""What workers and ticks do again and again: each takes milliseconds, and is tried again."""
COMMAND = Patience(statement=600, lock=60, idle=0)
"""What a person waits for. Results that go into a pager stay open for as long as somebody reads."""
LONG = Patience(statement=0, lock=600, idle=0)
"""Migrations, and a spec of a million rows: cut off, they would only have to begin anew."""
