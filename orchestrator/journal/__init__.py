"""Append-only files of intents and what became of them (docs/journal.md)."""

from orchestrator.journal.fields import RecordError
from orchestrator.journal.reader import Damage, read
from orchestrator.journal.record import (
    Batch,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Terminal,
    Unknown,
)
from orchestrator.journal.writer import JournalWriter

__all__ = [
    "Batch",
    "Damage",
    "Intent",
    "JournalWriter",
    "Outcome",
    "OutcomeKind",
    "Record",
    "RecordError",
    "Terminal",
    "Unknown",
    "read",
]
