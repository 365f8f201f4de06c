"""Making the batches of schedules: win the minute with the spec's content, then take it in.

Each step is one transaction and finds its place again after a death: a run that was won stays won,
with the content that was read then, and its batch is published at most once, under one label.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.domain import schedule as rule
from orchestrator.domain.batch import Wanted
from orchestrator.domain.schedule import Due, Kind, Overlap, RunState
from orchestrator.domain.states import State
from orchestrator.errors import OrchestratorError, ServiceError, SpecError
from orchestrator.services import intake, planning, schedule_events, staging
from orchestrator.services.context import Context
from orchestrator.services.planning import Plan
from orchestrator.spec import Spec, open_spec
from orchestrator.store import batches, counting, occurrences, schedules
from orchestrator.store.engine import Tx
from orchestrator.store.occurrences import Run
from orchestrator.store.schedules import Schedule

MAX_SPEC_BYTES = 64 * 1024 * 1024
"""A spec is kept with its run, so that an edit counts from the next one."""
NO_SUCCESS = "no_success"


@dataclass(frozen=True, slots=True)
class Report:
    """What one tick did; `missed` counts times, the others runs."""

    won: int = 0
    made: int = 0
    failed: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """A spec as it is now: its content and what it would cost, or why it cannot be taken."""

    content: bytes | None
    plan: Plan | None = None
    error: OrchestratorError | None = None


def run_once(context: Context) -> Report:
    """Close ended runs, win the minutes that have come, make the batches that wait."""
    failed = _close_ended(context)
    with context.store.read() as tx:
        found = schedules.due(tx)
        now = tx.now
    won = missed = 0
    for schedule in found:
        policy = schedule.definition.policy
        due = rule.due(schedule.definition.table, policy, last=schedule.last_at, now=now)
        taken, broken = _win(context, schedule, due)
        won += taken
        failed += broken
        missed += due.missed
    made, unmade = make_waiting(context)
    return Report(won, made, failed + unmade, missed)


def read_spec(context: Context, path: Path, batch_name: str, label: str) -> Read:
    """The file's bytes, and whether they can be taken in. Raises ServiceError."""
    content = None
    try:
        content = _bytes(path)
        _refuse_table(path)
        with as_file(content, path) as copy:
            plan = planning.plan(context, copy, name=batch_name, label=label, budget_nanos=None)
    except ServiceError:
        raise
    except OrchestratorError as error:
        return Read(content, error=error)
    return Read(content, plan)


def _refuse_table(path: Path) -> None:
    """A run keeps its spec's own content, which must therefore be all there is to it."""
    table = open_spec(path).header.table
    if table is not None:
        raise SpecError(
            f"{path} takes its rows from {table}, which a schedule would not keep with its runs",
            mend="Schedule a spec that holds its rows itself: a CSV, or items in YAML.",
        )


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise SpecError(f"there is no file {path}", mend="Put it back, or change the schedule.")
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(
                f"{path} has more than {MAX_SPEC_BYTES // 1024**2} MB, too much for a schedule",
                mend="Split it over several schedules.",
            )
        return path.read_bytes()
    except OSError as error:
        raise SpecError(
            f"{path} cannot be read: {error.strerror}", mend="Check the file and its disk."
        ) from None


@contextmanager
def as_file(content: bytes, path: Path) -> Iterator[Path]:
    """What a spec said, as a file again; what is said about the copy names the original."""
    with TemporaryDirectory(prefix="spec-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        try:
            yield copy
        except OrchestratorError as error:
            error.message = error.message.replace(str(copy), str(path))
            if isinstance(error, SpecError):
                error.problems = tuple(one._replace(file=str(path)) for one in error.problems)
            raise


def _win(context: Context, schedule: Schedule, due: Due) -> tuple[int, int]:
    """Take what is due of a schedule, in one transaction: (runs won, runs that failed at once)."""
    definition = schedule.definition
    read = Read(None)
    if due.runs:
        label = rule.label(due.runs[0][0])
        read = read_spec(context, Path(definition.spec), definition.batch_name, label)
    next_at = rule.next_after(definition.table, due.last)
    with context.store.write() as tx:
        if not schedules.advance(tx, schedule, last=due.last, next_at=next_at, missed=due.missed):
            return 0, 0
        won = [at for at, kind in due.runs if _win_one(tx, schedule, at, kind, read, due.caught_up)]
        if due.missed:
            schedule_events.missed(tx, schedule, due)
        if read.error is not None:
            for at in won:
                schedule_events.failed(tx, schedule.name, definition.batch_name, at, read.error)
                _count_failure(tx, schedule.name)
            return 0, len(won)
        late = [at for at in due.caught_up if at in won]
        if late and read.plan is not None:
            schedule_events.catching_up(tx, schedule, late, read.plan.cost)
        return len(won), 0


def _win_one(
    tx: Tx, schedule: Schedule, at: int, kind: Kind, read: Read, caught_up: tuple[int, ...]
) -> bool:
    """Whether this run is ours now; one that is skipped is recorded, and nobody's."""
    overlap = schedule.definition.policy.overlap
    state, error = RunState.WAITING, None
    if read.error is not None:
        state, error = RunState.FAILED, (read.error.code, read.error.message)
    elif overlap is Overlap.SKIP and not caught_up and occurrences.open_runs(tx, schedule.name):
        message = "an earlier run was not finished"
        state, error = RunState.SKIPPED, ("overlap", message)
    won = occurrences.win(
        tx,
        schedule.definition,
        label=rule.label(at),
        nominal_at=at,
        kind=kind,
        # Runs that are caught up take turns: to skip them would be to miss them again.
        queued=overlap is not Overlap.ALLOW,
        state=state,
        content=read.content,
        error=error,
    )
    return won and state is not RunState.SKIPPED


def make_waiting(context: Context) -> tuple[int, int]:
    """Make the batches whose turn it is: (made, failed)."""
    with context.store.read() as tx:
        found = occurrences.waiting(tx)
    made = failed = 0
    for run in found:
        done = make(context, run)
        made += done is True
        failed += done is False
    return made, failed


def make(context: Context, run: Run) -> bool | None:
    """Take a run's spec in: True if its batch is there, False if it failed, None if it waits.

    Said twice, or by two at once, it makes one batch.
    """
    with context.store.read() as tx:
        if run.queued and occurrences.open_runs(tx, run.schedule, before=run.nominal_at):
            return None
        found = batches.find(tx, run.batch_name, run.label)
        content = occurrences.content(tx, run.spec_digest or "")
    if found is not None and found.published_at is not None:
        return _made(context, run, found.id)

    def options(spec: Spec) -> intake.Options:
        budget = spec.header.budget_nanos if run.budget_nanos is None else run.budget_nanos
        return intake.Options(
            run.batch_name,
            run.label,
            budget,
            retries=spec.header.retries,
            reuse=spec.header.reuse,
            deadline=spec.header.deadline,
            account=spec.header.account,
            lock_wait=0,
        )

    named = replace(context, actor=f"schedule {run.schedule}")
    try:
        with as_file(content, Path(run.spec)) as copy:
            taken = intake.take_in(named, copy, options=options, confirm=lambda _proposal: True)
    except ServiceError:
        raise
    except OrchestratorError as error:
        # Somebody else is at it, or died at it a moment ago: it is looked at again.
        return None if error.code == staging.BUSY else _failed(context, run, error)
    return _made(context, run, taken.batch.id)


def _made(context: Context, run: Run, batch_id: int) -> bool:
    with context.store.write() as tx:
        return occurrences.made(tx, run, batch_id)


def _failed(context: Context, run: Run, error: OrchestratorError) -> bool:
    with context.store.write() as tx:
        if occurrences.end(tx, run, RunState.FAILED, (error.code, error.message)):
            schedule_events.failed(tx, run.schedule, run.batch_name, run.nominal_at, error)
            _count_failure(tx, run.schedule)
    return False


def _close_ended(context: Context) -> int:
    """Write down how runs ended whose batch is finished; returns how many made no video at all."""
    with context.store.read() as tx:
        found = occurrences.ended_batches(tx)
    return sum(_close(context, run) for run in found)


def _close(context: Context, run: Run) -> bool:
    assert run.batch_id is not None  # noqa: S101 narrows for the type checker
    with context.store.write() as tx:
        succeeded = counting.by_state(tx, run.batch_id)[State.SUCCEEDED]
        cancelled = batches.get(tx, run.batch_id).wanted is Wanted.CANCELLED
        if succeeded or cancelled:
            if occurrences.end(tx, run, RunState.FINISHED) and succeeded:
                schedules.count_success(tx, run.schedule)
            return False
        error = OrchestratorError(
            f"no row of {run.title} succeeded",
            mend=f"`orchestrator results {run.title} --failed` shows why.",
            code=NO_SUCCESS,
        )
        if not occurrences.end(tx, run, RunState.FAILED, (error.code, error.message)):
            return False
        schedule_events.failed(tx, run.schedule, run.batch_name, run.nominal_at, error)
        _count_failure(tx, run.schedule)
        return True


def _count_failure(tx: Tx, name: str) -> None:
    """One more failed run in a row; so many that the schedule is to pause, and it does."""
    schedule = schedules.count_failure(tx, name)
    most = None if schedule is None else schedule.definition.policy.pause_after
    if schedule is None or most is None or schedule.failures < most:
        return
    number = schedule.failures
    why = "a run failed" if number == 1 else f"{number:,} runs in a row failed"
    if schedules.pause(tx, name, why):
        schedule_events.paused(tx, schedule, why)
