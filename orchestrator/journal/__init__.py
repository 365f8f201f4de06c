"""Append-only files of intents and what became of them (docs/journal.md)."""

from orchestrator.journal.fields import RecordError
from orchestrator.journal.merge import (
    Book,
    Gathered,
    Title,
    gather,
    keys_in,
    knows,
    read_batch,
    written_now,
)
from orchestrator.journal.reader import Damage, paths, read
from orchestrator.journal.record import (
    Batch,
    Control,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Reused,
    Terminal,
    Unknown,
    Verdict,
    VerdictKind,
)
from orchestrator.journal.writer import JournalWriter

__all__ = [
    "Batch",
    "Book",
    "Control",
    "Damage",
    "Gathered",
    "Intent",
    "JournalWriter",
    "Outcome",
    "OutcomeKind",
    "Record",
    "RecordError",
    "Reused",
    "Terminal",
    "Title",
    "Unknown",
    "Verdict",
    "VerdictKind",
    "gather",
    "keys_in",
    "knows",
    "paths",
    "read",
    "read_batch",
    "written_now",
]
