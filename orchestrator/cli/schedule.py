"""schedule add, list, show, pause, resume, remove, trigger, apply: batches that make themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, SpecPath, Yes

if TYPE_CHECKING:
    from orchestrator.services.context import Context
    from orchestrator.services.schedule_files import Difference
    from orchestrator.store.schedules import Schedule

app = typer.Typer(no_args_is_help=True, help="Nightly and other recurring batches.")


def complete_schedules(incomplete: str) -> list[str]:
    """Names for the shell; silence where there is no database to ask."""
    from orchestrator.errors import OrchestratorError
    from orchestrator.runtime import open_runtime
    from orchestrator.store import schedules

    try:
        with open_runtime(create=False).context.store.read() as tx:
            names = [one.name for one in schedules.every(tx)]
    except OrchestratorError:
        return []
    return [name for name in names if name.startswith(incomplete)]


ScheduleName = Annotated[
    str,
    typer.Argument(
        metavar="SCHEDULE", help="The schedule's name.", autocompletion=complete_schedules
    ),
]


@app.command(
    epilog='Example: orchestrator schedule add nightly nightly.yaml --cron "0 2 * * *" '
    "--tz Europe/Berlin"
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the schedule.")],
    spec: SpecPath,
    cron: Annotated[
        str, typer.Option("--cron", help="Minute, hour, day of month, month, day of week.")
    ],
    tz: Annotated[
        str | None, typer.Option("--tz", help="The zone the cron speaks of (default: UTC).")
    ] = None,
    batch_name: Annotated[
        str | None, typer.Option("--name", help="The batches' name (default: the spec's own).")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="USD", help="For each run (default: the spec's)."),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap", help="While an earlier run goes on: skip (the default), queue or allow."
        ),
    ] = None,
    catch_up: Annotated[
        str | None,
        typer.Option(
            "--catch-up", help="Which missed runs to make: none (the default), latest or all."
        ),
    ] = None,
    catch_up_window: Annotated[
        str | None,
        typer.Option("--catch-up-window", help="None missed longer ago (default: 12h)."),
    ] = None,
    catch_up_max: Annotated[
        str | None, typer.Option("--catch-up-max", help="No more at once (default: 5).")
    ] = None,
    pause_after_failures: Annotated[
        str | None,
        typer.Option("--pause-after-failures", help="Pause when so many in a row failed."),
    ] = None,
    json: Json = False,
) -> int:
    """Make a batch of a spec again and again; each run sends without a question."""
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling

    terms = {
        "cron": cron,
        "tz": tz,
        "name": batch_name,
        "budget": budget,
        "overlap": overlap,
        "catch_up": catch_up,
        "catch_up_window": catch_up_window,
        "catch_up_max": catch_up_max,
        "pause_after_failures": pause_after_failures,
    }
    context = open_runtime().context
    given = {term: text for term, text in terms.items() if text is not None}
    added = scheduling.add(context, scheduling.define(context, name, spec, given))
    return _show(context, added, json=json, runs=0)


@app.command("list", epilog="Example: orchestrator schedule list --json")
def list_all(json: Json = False) -> int:
    """Every schedule, its next time and its last run."""
    from orchestrator.cli.output import print_json, show
    from orchestrator.cli.schedule_screen import table
    from orchestrator.runtime import open_runtime
    from orchestrator.services import schedule_views

    found = schedule_views.every(open_runtime(create=False).context)
    if json:
        print_json([one.as_json() for one in found])
    elif found:
        show(table(found))
    else:
        print("no schedules yet: `orchestrator schedule add NAME SPEC --cron …` makes one")
    return 0


@app.command(epilog="Example: orchestrator schedule show nightly")
def show(
    name: ScheduleName,
    runs: Annotated[int, typer.Option("--runs", min=0, help="How many of the last runs.")] = 5,
    json: Json = False,
) -> int:
    """One schedule: its terms, next five times, last runs with batch and cost, missed ones."""
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling

    context = open_runtime(create=False).context
    return _show(context, scheduling.find(context, name), json=json, runs=runs)


def _show(context: Context, schedule: Schedule, *, json: bool, runs: int) -> int:
    from orchestrator.cli.output import print_json, say
    from orchestrator.cli.schedule_screen import lines
    from orchestrator.services import schedule_views
    from orchestrator.store import workers

    now = schedule_views.look(context, schedule, times=5, runs=runs)
    if json:
        print_json(now.as_json())
        return 0
    for line in lines(now):
        print(line)
    with context.store.read() as tx:
        alive = workers.alive(tx)
    if not alive:
        say("no worker is running; `orchestrator up` starts one, which makes the runs")
    return 0


@app.command(epilog="Example: orchestrator schedule pause nightly")
def pause(name: ScheduleName, json: Json = False) -> int:
    """Make no more runs until resume; those that were made go on."""
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling

    context = open_runtime(create=False).context
    schedule, changed = scheduling.pause(context, name)
    return _steered(context, schedule, "paused" if changed else "was paused already", json=json)


@app.command(epilog="Example: orchestrator schedule resume nightly")
def resume(name: ScheduleName, json: Json = False) -> int:
    """Go on from now; what was due while it was paused is not made up for."""
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling

    context = open_runtime(create=False).context
    schedule, changed = scheduling.resume(context, name)
    return _steered(context, schedule, "resumed" if changed else "was not paused", json=json)


def _steered(context: Context, schedule: Schedule, done: str, *, json: bool) -> int:
    from orchestrator.cli.output import print_json
    from orchestrator.cli.schedule_screen import local
    from orchestrator.services import schedule_views

    now = schedule_views.look(context, schedule, times=1, runs=1)
    if json:
        print_json(now.as_json())
        return 0
    coming = f"; next: {local(now.coming[0], schedule)}" if now.coming else ""
    print(f"schedule {schedule.name} {done}{coming}")
    return 0


@app.command(epilog="Example: orchestrator schedule remove nightly")
def remove(name: ScheduleName, json: Json = False) -> int:
    """Forget a schedule; its batches stay, and go on if they are not finished."""
    from orchestrator.cli.output import plural, print_json
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling

    removed = scheduling.remove(open_runtime(create=False).context, name)
    titles = [run.title for run in removed.going_on]
    if json:
        print_json({"schedule": name, "going_on": titles, "dropped": removed.dropped})
        return 0
    print(f"schedule {name} removed")
    if removed.dropped:
        print(f"  {plural(removed.dropped, 'run')} that waited will not be made")
    for title in titles:
        print(f"  {title} goes on; `orchestrator cancel {title}` takes back what was not sent")
    return 0


@app.command(epilog="Example: orchestrator schedule trigger nightly")
def trigger(name: ScheduleName, json: Json = False) -> int:
    """Make a run now, whatever the timetable; a minute has one run at most."""
    from orchestrator.cli.output import print_json, say
    from orchestrator.cli.schedule_screen import run_line
    from orchestrator.domain.schedule import RunState
    from orchestrator.runtime import open_runtime
    from orchestrator.services import scheduling
    from orchestrator.services.schedule_views import seen_run
    from orchestrator.store import workers

    context = open_runtime(create=False).context
    run, new = scheduling.trigger(context, name)
    with context.store.read() as tx:
        seen, alive = seen_run(tx, run), workers.alive(tx)
    if json:
        print_json(seen.as_json() | {"schedule": name, "new": new})
        return 1 if run.state is RunState.FAILED else 0
    print(run_line(seen) + ("" if new else " (this minute has its run already)"))
    if run.state is RunState.FAILED:
        return 1
    if not alive:
        say("no worker is running; `orchestrator up` starts one and sends what is recorded")
    return 0


@app.command(epilog="Example: orchestrator schedule apply schedules.yaml --prune")
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file of schedules.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove schedules that the file does not name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the difference; change nothing.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Make the schedules what a file says; shows the difference first."""
    from orchestrator.cli.output import on_terminal, print_json, say
    from orchestrator.cli.schedule_screen import difference_json, difference_lines
    from orchestrator.runtime import open_runtime
    from orchestrator.services import schedule_files

    context = open_runtime().context
    definitions = schedule_files.read_file(context, file)
    difference = schedule_files.compare(context, definitions, prune=prune)
    if not json:
        for line in difference_lines(difference):
            print(line)
    apply_it = not dry_run and not difference.empty
    if apply_it and not json and on_terminal() and not yes and not _agreed(difference):
        say("nothing was changed")
        return 0
    if apply_it:
        schedule_files.apply(context, difference)
    if json:
        print_json(difference_json(difference) | {"applied": apply_it})
    return 0


def _agreed(difference: Difference) -> bool:
    number = sum(change.verb != "keep" for change in difference.changes)
    return typer.confirm(f"Apply {number} change{'' if number == 1 else 's'}?", default=False)
