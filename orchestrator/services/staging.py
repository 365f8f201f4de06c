"""Streaming a spec into rows that are not published yet, in short transactions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.errors import OrchestratorError, Problem, too_many_problems
from orchestrator.services import reusing
from orchestrator.services.context import Context
from orchestrator.spec import BadRow, Note, Spec, SpecRow
from orchestrator.store import intake
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx, uninterrupted
from orchestrator.store.intake import Staged

GROUP_CHARS = 16_000_000
BUSY = "busy"
_Entry: TypeAlias = SpecRow | BadRow | Problem | Note


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was staged whole."""

    revision_id: int
    rows: int
    notes: tuple[Note, ...]
    skipped: tuple[Problem, ...]


def stage(
    context: Context,
    spec: Spec,
    batch: Batch,
    token: str,
    progress: Callable[[int], None],
    *,
    reuse: bool,
) -> Read:
    """Stream the file into unpublished rows; raises SpecError with all problems at its end."""
    with context.store.write() as tx:
        revision_id = intake.begin(tx, batch.id, source=str(spec.path), actor=context.actor)
        position = intake.last_position(tx, batch.id)
    problems: list[Problem] = []
    notes: list[Note] = []
    skipped: list[Problem] = []
    rows = bad = 0
    for group in grouped(spec.rows()):
        found = [entry for entry in group if isinstance(entry, SpecRow | BadRow)]
        for row in found:
            if isinstance(row, BadRow):
                bad += 1
                skipped += row.problems
        problems += [entry for entry in group if isinstance(entry, Problem)]
        notes += [entry for entry in group if isinstance(entry, Note)]
        rows += len(found)
        if not problems:
            with uninterrupted(), context.store.write() as tx:
                keep_lock(tx, batch, token, revision_id)
                position += intake.stage(
                    tx,
                    batch.id,
                    revision_id,
                    [_staged(row) for row in found],
                    after_position=position,
                    compare=batch.published_at is not None,
                )
                if reuse:
                    good = [row for row in found if isinstance(row, SpecRow)]
                    reusing.stage(tx, context, batch, revision_id, good)
        progress(rows)
    if problems or (bad and bad == rows):
        raise too_many_problems(spec.path, problems or skipped)
    return Read(revision_id, rows, tuple(notes), tuple(skipped))


def keep_lock(tx: Tx, batch: Batch, token: str, revision_id: int) -> None:
    """Raises OrchestratorError `busy` where another submit took the batch meanwhile."""
    if not intake.holds(tx, batch.id, token, revision_id):
        raise OrchestratorError(
            f"this submit of {batch.title} took so long that another one went ahead",
            mend="Submit again.",
            code=BUSY,
        )


def grouped(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Groups of at most intake.GROUP entries and about GROUP_CHARS of input: images are large."""
    group: list[_Entry] = []
    chars = 0
    for entry in entries:
        group.append(entry)
        chars += len(entry.input_json) if isinstance(entry, SpecRow) else 0
        if len(group) == intake.GROUP or chars > GROUP_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group


_encode = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: making it takes as long as using it."""


def _staged(row: SpecRow | BadRow) -> Staged:
    source = _encode(dict(row.source))
    if isinstance(row, BadRow):
        return Staged(row.row_key, row.digest, "", "", "", source, invalid=row.message)
    return Staged(
        row_key=row.row_key,
        digest=row.digest,
        model=row.model,
        price_class=row.price_class,
        input_json=row.input_json,
        source=source,
    )
