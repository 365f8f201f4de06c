"""Schedules in a file: read with every problem, compared with what is there, applied as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain import schedule as rule
from orchestrator.domain.schedule import TermError
from orchestrator.domain.schedule_terms import Definition, read_terms
from orchestrator.errors import OrchestratorError, Problem, SpecError
from orchestrator.services.context import Context
from orchestrator.services.scheduling import (
    absolute,
    batch_name_of,
    check_spec,
    refuse_batch_name,
    refuse_taken,
)
from orchestrator.spec.schedule_file import Entry, read_schedules
from orchestrator.store import occurrences, schedules
from orchestrator.store.engine import Tx


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a file does to one schedule; one of the two is None where it is new or gone."""

    name: str
    before: Definition | None
    after: Definition | None

    @property
    def fields(self) -> dict[str, tuple[str | None, str | None]]:
        """Term -> (as it is, as it will be), of those that differ."""
        before = self.before.terms() if self.before else {}
        after = self.after.terms() if self.after else {}
        pairs = {term: (before.get(term), after.get(term)) for term in before | after}
        return {term: pair for term, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def verb(self) -> str:
        if self.before is None:
            return "add"
        if self.after is None:
            return "remove"
        return "change" if self.fields else "keep"


@dataclass(frozen=True, slots=True)
class Difference:
    """`others`: schedules that the file does not name, and that stay."""

    changes: tuple[Change, ...]
    others: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return all(change.verb == "keep" for change in self.changes)


def read_file(context: Context, path: Path) -> list[Definition]:
    """The schedules of a file. Raises SpecError with every problem, those of their specs too."""
    entries, problems = read_schedules(path)
    found: list[tuple[Entry, Definition]] = []
    for entry in entries:
        definition, wrong = _of_entry(context, path.parent, entry)
        problems += [entry.problem(error) for error in wrong]
        if definition is not None and not wrong:
            found.append((entry, definition))
    problems += _shared_names(found)
    if problems:
        many = f"{len(problems):,} problems" if len(problems) > 1 else "1 problem"
        problems.sort(key=lambda one: (one.line, one.column))
        raise SpecError(
            f"{path} has {many}; nothing was changed",
            mend="Mend the lines named, then apply again.",
            problems=problems,
        )
    return [definition for _, definition in found]


def _of_entry(
    context: Context, folder: Path, entry: Entry
) -> tuple[Definition | None, list[TermError]]:
    name, terms = entry.name.text, entry.terms
    wrong: list[TermError] = []
    spec, batch_name = absolute(folder / terms.get("spec", "")), terms.get("name", "")
    if "spec" not in terms:
        wrong.append(TermError("spec", "", "is missing", "Write the spec's path."))
    else:
        try:
            batch_name = batch_name or batch_name_of(spec)
            check_spec(context, spec, batch_name)
        except SpecError as error:
            mend = f"`orchestrator validate {spec}` shows all of it."
            wrong.append(TermError("spec", terms["spec"], _broken(error), mend))
    batch_name = batch_name or spec.stem or "x"
    definition, others = read_terms(terms, name=name, spec=str(spec), batch_name=batch_name)
    return definition, wrong + others


def _broken(error: SpecError) -> str:
    if not error.problems:
        return f"cannot be taken: {error.message}"
    first = error.problems[0]
    field = f" {first.field}" if first.field else ""
    return f"is broken: line {first.line}, column {first.column}:{field} {first.message}"


def _shared_names(found: Sequence[tuple[Entry, Definition]]) -> list[Problem]:
    first: dict[str, str] = {}
    problems = []
    for entry, definition in found:
        other = first.setdefault(definition.batch_name, definition.name)
        if other != definition.name:
            message = f"makes batches named {definition.batch_name}, as {other} does"
            mend = "Give its batches a name: of their own."
            wrong = TermError("name", definition.batch_name, message, mend)
            problems.append(entry.problem(wrong))
    return problems


def compare(context: Context, definitions: Sequence[Definition], *, prune: bool) -> Difference:
    """What applying these would change; without `prune`, schedules they do not name stay."""
    with context.store.read() as tx:
        existing = {one.name: one.definition for one in schedules.every(tx)}
    changes = [Change(one.name, existing.get(one.name), one) for one in definitions]
    named = {one.name for one in definitions}
    others = [name for name in existing if name not in named]
    if prune:
        changes += [Change(name, existing[name], None) for name in others]
    return Difference(tuple(changes), () if prune else tuple(others))


def apply(context: Context, difference: Difference) -> None:
    """All of it or nothing. Raises UsageError where the schedules have changed since."""
    leaving = [change.name for change in difference.changes if change.verb == "remove"]
    with context.store.write() as tx:
        for change in sorted(difference.changes, key=lambda one: one.verb != "remove"):
            now = schedules.find(tx, change.name)
            if (now.definition if now else None) != change.before:
                raise OrchestratorError(
                    f"the schedule {change.name} was changed meanwhile",
                    mend="Apply again.",
                    code="changed",
                )
            _apply_one(tx, change, leaving)


def _apply_one(tx: Tx, change: Change, leaving: Sequence[str]) -> None:
    if change.after is None:
        schedules.remove(tx, change.name)
        occurrences.drop_waiting(tx, change.name)
    elif change.before is None:
        refuse_taken(tx, change.after, leaving)
        schedules.add(tx, change.after, rule.next_after(change.after.table, tx.now))
    elif change.verb == "change":
        refuse_batch_name(tx, change.after, leaving)
        schedules.change(tx, change.name, change.after)
        if change.before.table != change.after.table:
            schedules.restart(tx, change.name, rule.next_after(change.after.table, tx.now))
