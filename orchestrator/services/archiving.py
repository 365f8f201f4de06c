"""Retention: the bulk of finished batches goes, what recognises and adds up stays.

In short transactions, so live work never waits long; killed in the middle, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import UsageError
from orchestrator.services import rejoining
from orchestrator.services.context import Context
from orchestrator.store import archive, inputs
from orchestrator.store.batches import Batch

GROUP = 500


@dataclass(slots=True)
class Report:
    """What went: rows stripped, and rows of other tables that are gone."""

    batches: list[str] = field(default_factory=list)
    rows: int = 0
    outputs: int = 0
    history: int = 0
    inputs: int = 0
    images: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "batches": self.batches,
            "rows": self.rows,
            "outputs": self.outputs,
            "history": self.history,
            "inputs": self.inputs,
            "images": self.images,
        }


def old_ones(context: Context, age: int) -> list[Batch]:
    """Batches that ended more than `age` milliseconds ago and may be archived."""
    with context.store.read() as tx:
        return archive.candidates(tx, tx.now - age)


def check(context: Context, batch: Batch) -> None:
    """Raises UsageError for a batch that is not at its end, or still needs somebody."""
    with context.store.read() as tx:
        waits = archive.waits(tx, batch.id)
    if batch.finished_at is None or waits:
        why = "a person is needed" if batch.finished_at else "it is not finished"
        raise UsageError(
            f"{batch.title} cannot be archived: {why}",
            mend=f"`orchestrator status {batch.title}` shows what it waits for.",
            code="not_finished",
        )


def run(
    context: Context, chosen: Sequence[Batch], *, progress: Callable[[int], None] = lambda _n: None
) -> Report:
    """Archive these batches, then drop inputs and images that no kept batch can use.

    Raises ServiceError while the database may not know what was sent.
    """
    report = Report()
    with context.store.read() as tx:
        rejoining.refuse(tx)
    for batch in chosen:
        _strip(context, batch, report, progress)
        with context.store.write() as tx:
            if archive.finish(tx, batch.id, actor=context.actor):
                report.batches.append(batch.title)
    _drop_inputs(context, report)
    return report


def _strip(context: Context, batch: Batch, report: Report, progress: Callable[[int], None]) -> None:
    after = 0
    while True:
        with context.store.write() as tx:
            done = archive.strip(tx, batch.id, after, GROUP)
        if done is None:
            return
        after = done.last
        report.rows += done.items
        report.outputs += done.outputs
        report.history += done.lines
        progress(report.rows)


def _drop_inputs(context: Context, report: Report) -> None:
    with context.store.read() as tx:
        before = archive.oldest_kept(tx)
    while True:
        with context.store.write() as tx:
            number, images = inputs.drop_unused(tx, before, GROUP)
            if images:
                report.images += inputs.drop_images(tx, images)
        if number == 0:
            return
        report.inputs += number
