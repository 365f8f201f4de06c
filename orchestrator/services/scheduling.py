"""What a person does with schedules: add, look, pause, resume, remove, trigger."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain import schedule as rule
from orchestrator.domain.models import suggestion
from orchestrator.domain.schedule import Kind, TermError
from orchestrator.domain.schedule_terms import Definition, read_terms
from orchestrator.errors import UsageError
from orchestrator.services import intake, recurrence
from orchestrator.services.context import Context
from orchestrator.store import occurrences, schedules
from orchestrator.store.engine import Tx
from orchestrator.store.occurrences import Run
from orchestrator.store.schedules import Schedule


@dataclass(frozen=True, slots=True)
class Removed:
    """`going_on`: runs whose batch is not finished; `dropped`: those that were still to be made."""

    going_on: tuple[Run, ...]
    dropped: int


def define(context: Context, name: str, spec: Path, terms: Mapping[str, str]) -> Definition:
    """A schedule from what was typed; its spec is read to the end.

    Raises SpecError for a broken spec, UsageError with everything wrong about the terms.
    """
    path = absolute(spec)
    batch_name = terms.get("name") or batch_name_of(path)
    definition, problems = read_terms(terms, name=name, spec=str(path), batch_name=batch_name)
    if definition is None:
        raise UsageError(
            "; ".join(f"{_option(one)}: {one.message}" for one in problems),
            mend=" ".join(dict.fromkeys(one.mend for one in problems)),
            code="bad_schedule",
        )
    check_spec(context, path, batch_name)
    return definition


def absolute(path: Path) -> Path:
    """Without `..`, but with links as they are: one may be moved to a newer spec."""
    return Path(os.path.abspath(path))  # noqa: PTH100 Path.resolve follows links


def _option(error: TermError) -> str:
    if error.term == "schedule":
        return f"the name {error.value!r}"
    option = f"--{error.term.replace('_', '-')}"
    return f'{option} "{error.value}"' if error.value else option


def batch_name_of(spec: Path) -> str:
    return intake.names_of(spec, None, None)[0]


def check_spec(context: Context, spec: Path, batch_name: str) -> None:
    read = recurrence.read_spec(context, spec, batch_name, rule.label(0))
    if read.error is not None:
        raise read.error


def add(context: Context, definition: Definition) -> Schedule:
    """Raises UsageError where the name, or the name of its batches, belongs to another."""
    with context.store.write() as tx:
        refuse_taken(tx, definition)
        schedules.add(tx, definition, rule.next_after(definition.table, tx.now))
        return _found(tx, definition.name)


def refuse_taken(tx: Tx, definition: Definition, leaving: Sequence[str] = ()) -> None:
    name = definition.name
    if schedules.find(tx, name) is not None:
        raise UsageError(
            f"there is a schedule {name} already",
            mend=f"`orchestrator schedule remove {name}` first, or choose another name.",
            code="exists",
        )
    refuse_batch_name(tx, definition, leaving)


def refuse_batch_name(tx: Tx, definition: Definition, leaving: Sequence[str]) -> None:
    other = schedules.of_batch_name(tx, definition.batch_name)
    if other is not None and other.name not in (definition.name, *leaving):
        raise UsageError(
            f"the schedule {other.name} makes batches named {definition.batch_name} already",
            mend="Give the batches of this one another --name.",
            code="batch_name_taken",
        )


def find(context: Context, name: str) -> Schedule:
    """Raises UsageError with the nearest name."""
    with context.store.read() as tx:
        return _found(tx, name)


def _found(tx: Tx, name: str) -> Schedule:
    found = schedules.find(tx, name)
    if found is not None:
        return found
    known = [one.name for one in schedules.every(tx)]
    meant = suggestion(name, known)
    mend = "`orchestrator schedule list` shows them."
    raise UsageError(
        f"there is no schedule {name}",
        mend=f"Did you mean {meant}?" if meant else mend,
        code="no_schedule",
    )


def pause(context: Context, name: str) -> tuple[Schedule, bool]:
    """Make no runs by itself until resume; whether that changed anything."""
    with context.store.write() as tx:
        _found(tx, name)
        changed = schedules.pause(tx, name, f"paused by {context.actor}")
        return _found(tx, name), changed


def resume(context: Context, name: str) -> tuple[Schedule, bool]:
    """Go on from now on; what was due while it rested is not made up for."""
    with context.store.write() as tx:
        table = _found(tx, name).definition.table
        changed = schedules.resume(tx, name, rule.next_after(table, tx.now))
        return _found(tx, name), changed


def remove(context: Context, name: str) -> Removed:
    """Forget a schedule. Its batches stay and go on; its runs stay, so none is made twice."""
    with context.store.write() as tx:
        _found(tx, name)
        schedules.remove(tx, name)
        dropped = occurrences.drop_waiting(tx, name)
        return Removed(tuple(occurrences.open_runs(tx, name)), dropped)


def trigger(context: Context, name: str) -> tuple[Run, bool]:
    """A run of this minute, made at once, and whether it is new: a minute has one run at most.

    Raises SpecError, and records nothing, where the spec cannot be taken.
    """
    schedule = find(context, name)
    definition = schedule.definition
    with context.store.read() as tx:
        nominal_at = rule.minute(tx.now)
        label = rule.label(nominal_at)
        known = occurrences.find(tx, definition.batch_name, label)
    if known is None:
        read = recurrence.read_spec(context, Path(definition.spec), definition.batch_name, label)
        if read.error is not None:
            raise read.error
        with context.store.write() as tx:
            won = occurrences.win(
                tx,
                definition,
                label=label,
                nominal_at=nominal_at,
                kind=Kind.TRIGGERED,
                content=read.content,
            )
            known = occurrences.find(tx, definition.batch_name, label)
    else:
        won = False
    assert known is not None  # noqa: S101 it was there, or has just been written
    if known.state is rule.RunState.WAITING:
        recurrence.make(context, known)
    with context.store.read() as tx:
        return occurrences.find(tx, definition.batch_name, label) or known, won
