"""A plan in a file: submitting it does what it says, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import SpecError, UsageError
from orchestrator.services.intake import Proposal
from orchestrator.services.planning import Plan
from orchestrator.spec import STANDARD_INPUT, Note, Reading

SUFFIX = ".plan"
VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What was planned. `spec`: absolute path; money in nano-dollars; `classes`: class -> rows."""

    spec: str
    sha256: str
    name: str
    label: str
    budget_nanos: int | None
    rows: int
    new: int
    known: int
    changed: int
    removed: int
    classes: dict[str, int]
    low: int
    high: int | None
    encoding: str | None
    delimiter: str | None
    keep: list[str]
    notes: str = ""
    skip_invalid: bool = False
    prices: str | None = None
    reuse: bool = False
    table: str | None = None
    """The file that the spec's rows come from, and its digest."""
    table_sha256: str | None = None

    @property
    def how(self) -> Reading:
        """How the spec was read."""
        return Reading(self.encoding, self.delimiter, frozenset(self.keep), self.skip_invalid)

    def refuse_changed(self, proposal: Proposal) -> None:
        """Raises UsageError, with each difference, where submitting would do something else."""
        differences = [
            f"{what} {before:,}, now {now:,}"
            for what, before, now in self._counted(proposal)
            if before != now
        ]
        if not differences and (self.low, self.high) != (proposal.cost.low, proposal.cost.high):
            differences = ["a price"]
        if not differences and self.notes not in ("", _told(proposal.notes)):
            differences = ["an image that the spec names"]
        if differences and self.classes and not proposal.difference.to_send:
            raise UsageError(
                "the plan no longer holds: all its rows are in the batch already",
                mend=f"It seems to have been submitted; see `orchestrator status {self.name}`.",
                code="plan_outdated",
            )
        if differences:
            raise _outdated("; ".join(differences))

    def _counted(self, proposal: Proposal) -> Iterator[tuple[str, int, int]]:
        now = proposal.difference
        yield "rows", self.rows, proposal.rows
        yield "new", self.new, now.added
        yield "known", self.known, now.known
        yield "changed", self.changed, now.changed
        yield "removed", self.removed, now.removed
        for name in sorted(self.classes.keys() | now.price_classes.keys()):
            yield f"rows of {name}", self.classes.get(name, 0), now.price_classes.get(name, 0)


def check_name(target: Path) -> None:
    """Raises UsageError for a name that `submit` would not take for a plan's."""
    if target.suffix != SUFFIX:
        raise UsageError(
            f"{target} does not end in {SUFFIX}", mend=f"Call it {target.stem}{SUFFIX}."
        )


def save(
    plan: Plan,
    spec: Path,
    target: Path,
    *,
    budget_nanos: int | None,
    how: Reading,
    prices: Path | None = None,
    reuse: bool = False,
) -> None:
    """Raises UsageError where the file cannot be written or the spec cannot be read again."""
    if spec == STANDARD_INPUT:
        raise UsageError(
            "a spec from standard input is gone when its plan is submitted",
            mend="Save the spec in a file, and plan that.",
        )
    name, _, label = plan.title.partition("@")
    saved = SavedPlan(
        spec=str(spec.absolute()),
        sha256=_digest(spec),
        name=name,
        label=label,
        budget_nanos=budget_nanos,
        rows=plan.rows,
        new=plan.new,
        known=plan.known,
        changed=plan.changed,
        removed=plan.removed,
        classes={name: number for name, (number, _) in plan.classes.items()},
        low=plan.cost.low,
        high=plan.cost.high,
        encoding=how.encoding,
        delimiter=how.delimiter,
        keep=sorted(how.keep),
        notes=_told(plan.notes),
        skip_invalid=how.skip_invalid,
        reuse=reuse,
        prices=None if prices is None else str(prices.absolute()),
        table=None if plan.table is None else str(plan.table.absolute()),
        table_sha256=None if plan.table is None else _digest(plan.table),
    )
    text = json.dumps({"version": VERSION, **asdict(saved)}, indent=2, ensure_ascii=False)
    try:
        target.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", mend="Choose another file with -o."
        ) from None


def read(path: Path) -> SavedPlan:
    """Raises SpecError for a file that is no plan, UsageError where its spec has changed since."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("version") != VERSION:
            raise ValueError("it was made by another version")  # noqa: TRY301 mapped below
        plan = SavedPlan(**found)
    except OSError as error:
        raise SpecError(
            f"{path} cannot be read: {error.strerror}", mend="Check the name and the directory."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpecError(
            f"{path} is no plan: {error}", mend=f"Make it anew: orchestrator plan SPEC -o {path}"
        ) from None
    if _digest(Path(plan.spec)) != plan.sha256:
        raise _outdated(f"the file {plan.spec}")
    if plan.table is not None and _digest(Path(plan.table)) != plan.table_sha256:
        raise _outdated(f"the file {plan.table}")
    return plan


def _told(notes: Sequence[Note]) -> str:
    """What was noted stands for what lies beside the spec: a note names an image's SHA-256."""
    lines = [f"{note.line}:{note.column} {note.message}\n" for note in notes]
    return hashlib.sha256("".join(lines).encode("utf-8", "replace")).hexdigest()


def _digest(spec: Path) -> str:
    digest = hashlib.sha256()
    try:
        with spec.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UsageError(
            f"{spec} cannot be read: {error.strerror}", mend="Put it back, or plan again."
        ) from None
    return digest.hexdigest()


def _outdated(what: str) -> UsageError:
    return UsageError(
        f"the plan no longer holds; changed since: {what}",
        mend="Make it again with plan -o, look at it, and submit that.",
        code="plan_outdated",
    )
