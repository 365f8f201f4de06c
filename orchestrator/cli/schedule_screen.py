"""What schedules look like on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cron_descriptor import FormatException, Options, get_description
from rich.table import Table

from orchestrator.cli.output import dollars, plural
from orchestrator.domain.schedule import label
from orchestrator.services.schedule_files import Change, Difference
from orchestrator.services.schedule_views import SeenRun, Sighting
from orchestrator.store.schedules import Schedule

_SIGNS = {"add": "+", "remove": "-", "change": "~", "keep": "="}


def described(cron: str) -> str:
    """In words: `At 02:00`."""
    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"
    try:
        return str(get_description(cron, options))
    except (FormatException, ValueError):
        return cron


def local(at: int, schedule: Schedule) -> str:
    """A time as the schedule's zone has it, and in UTC."""
    zone = schedule.definition.table.zone
    moment = datetime.fromtimestamp(at / 1000, UTC if zone == "UTC" else ZoneInfo(zone))
    here = moment.strftime("%a %Y-%m-%d %H:%M %Z")
    return here if zone == "UTC" else f"{here} ({label(at)})"


def table(found: Sequence[Sighting]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("schedule", "when", "zone", "next", "last run", "missed"):
        made.add_column(column)
    for one in found:
        terms = one.schedule.definition
        coming = label(one.coming[0]) if one.coming else one.state
        last = run_line(one.runs[0]) if one.runs else "none yet"
        when = described(terms.table.cron)
        missed = f"{one.schedule.missed:,}"
        made.add_row(one.schedule.name, when, terms.table.zone, coming, last, missed)
    return made


def lines(now: Sighting) -> Iterator[str]:
    """One schedule, for reading."""
    schedule, terms = now.schedule, now.schedule.definition.terms()
    yield f"{schedule.name}: {described(str(terms['cron']))} ({terms['cron']}, {terms['tz']})"
    budget = schedule.definition.budget_nanos
    money = "the spec's" if budget is None else f"{dollars(budget)} a run"
    yield f"  spec {terms['spec']}, batches {terms['name']}@…, budget {money}"
    caught = f"catch-up {terms['catch_up']}"
    if terms["catch_up"] != "none":
        caught += f" within {terms['catch_up_window']}, at most {terms['catch_up_max']}"
    failing = schedule.definition.policy.pause_after
    limit = f", pauses after {plural(failing, 'failure')}" if failing else ""
    yield f"  overlap {terms['overlap']}, {caught}{limit}"
    if schedule.paused_at is not None:
        yield f"  paused since {label(schedule.paused_at)}: {schedule.paused_why}"
    for at in now.coming:
        yield f"  next: {local(at, schedule)}"
    if schedule.missed:
        yield f"  missed: {plural(schedule.missed, 'time')}, last seen {_seen(schedule)}"
    for run in now.runs:
        yield f"  run {run_line(run)}"


def _seen(schedule: Schedule) -> str:
    return label(schedule.missed_at) if schedule.missed_at is not None else "never"


def run_line(seen: SeenRun) -> str:
    """One run: where it is to be found, how it stands, what it cost."""
    run = seen.run
    cost = "" if seen.cost_nanos is None else f", {dollars(seen.cost_nanos)}"
    why = f": {run.error_message}" if run.error_message else ""
    return f"{run.title} {run.kind}, {run.state}{cost}{why}"


def difference_lines(difference: Difference) -> Iterator[str]:
    """One line a schedule, one more for each term that changes."""
    for change in difference.changes:
        yield f"{_SIGNS[change.verb]} {change.name}{_summary(change)}"
        if change.verb == "change":
            for term, (before, after) in change.fields.items():
                yield f"    {term}: {before or 'none'} -> {after or 'none'}"
    for name in difference.others:
        yield f"  {name} is not in the file, and stays (--prune removes it)"


def _summary(change: Change) -> str:
    if change.verb != "add" or change.after is None:
        return ""
    table = change.after.table
    return f": {described(table.cron)} ({table.cron}, {table.zone}), {change.after.spec}"


def difference_json(difference: Difference) -> dict[str, object]:
    changes = [
        {
            "schedule": change.name,
            "change": change.verb,
            "fields": {
                term: {"before": before, "after": after}
                for term, (before, after) in change.fields.items()
            },
        }
        for change in difference.changes
    ]
    return {"changes": changes, "others": list(difference.others)}
