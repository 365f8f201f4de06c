"""Folding the run times that were seen into the sketches, and planning by them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain import cadence, lateness, sketch
from orchestrator.domain.lateness import Lateness
from orchestrator.domain.sketch import Sketch, Span
from orchestrator.services.context import Context
from orchestrator.store import counting, sketches

AT_ONCE = 2_000
"""Run times to a transaction; only the newest of them, as many as are remembered, are computed."""
MOST_ROUNDS = 5
ABSENT = 2 * cadence.SPARSE
"""A span longer than this says that nobody asked, not how long the task ran."""


def run_once(context: Context) -> int:
    """Fold what was appended; returns how many run times.

    Computed outside of any transaction and put against the version that was read, so a doubled
    tick folds nothing twice and no writer waits for it.
    """
    with context.store.write() as tx:
        counting.fold(tx)
    folded = 0
    for _ in range(MOST_ROUNDS):
        with context.store.read() as tx:
            new = sketches.unfolded(tx, context.provider, AT_ONCE)
            read = {name: sketches.known(tx, context.provider, name) for name in new}
        taken = sum(_fold(context, name, rows, read[name]) for name, rows in sorted(new.items()))
        folded += taken
        if taken < AT_ONCE:
            break
    return folded


def _fold(
    context: Context,
    price_class: str,
    rows: Sequence[tuple[int, Span]],
    known: sketches.Known | None,
) -> int:
    before = _readable(known.sketch_json) if known else Sketch()
    spans = [span for _, span in rows if span.high - span.low <= ABSENT]
    # More than the memory holds would be forgotten at once.
    spans = spans[-int(sketch.MEMORY) :]
    after = sketch.learn(before, spans, cadence.prior_density(before))
    plan = cadence.make_plan(after)
    late = lateness.notice(_known_late(known), [span for _, span in rows])
    with context.store.write() as tx:
        done = sketches.put(
            tx,
            context.provider,
            price_class,
            version=known.version if known else 0,
            sketch_json=after.to_json(),
            plan_json=plan.to_json() if plan else "null",
            late_json=late.to_json(),
            folded=[row_id for row_id, _ in rows],
        )
    return len(rows) if done else 0


def _readable(text: str) -> Sketch:
    """A sketch is only a saving: one that cannot be read is begun anew."""
    try:
        return sketch.from_json(text)
    except ValueError:
        return Sketch()


def _known_late(known: sketches.Known | None) -> Lateness:
    """What only tells is begun anew too where it cannot be read."""
    try:
        return lateness.from_json(known.late_json) if known else Lateness()
    except ValueError:
        return Lateness()
