"""What the journal is told of a batch before its purchases."""

from __future__ import annotations

from orchestrator import journal
from orchestrator.store.batches import Batch


def batch_record(batch: Batch, *, at: int) -> journal.Batch:
    """The batch as it was then; `at` in milliseconds."""
    return journal.Batch(
        namespace=batch.namespace,
        name=batch.name,
        label=batch.label,
        key_version=batch.key_version,
        budget_nanos=batch.budget_nanos,
        provider=batch.provider,
        account=batch.account,
        at=at,
    )
