"""validate, plan, submit: from a file to a recorded batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    AccountName,
    Append,
    Budget,
    CanaryCost,
    CanaryDeadline,
    CanaryFailures,
    CanaryRows,
    Delimiter,
    Encoding,
    Json,
    Keep,
    KeepRemoved,
    Label,
    Limit,
    MaxPrice,
    Name,
    Prices,
    Priority,
    Prune,
    Rejects,
    ResendChanged,
    Reuse,
    SkipInvalid,
    SpecPath,
    Yes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.domain.canary import Pace
    from orchestrator.errors import Problem
    from orchestrator.services.planning import Plan
    from orchestrator.spec import Note, Reading


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator validate prompts.csv")(validate)
    app.command(epilog="Example: orchestrator plan prompts.csv --json")(plan)
    app.command(epilog="Example: orchestrator submit prompts.csv --label monday --watch")(submit)


def validate(
    spec: SpecPath,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    keep: Keep = None,
    rejects: Rejects = None,
    json: Json = False,
) -> int:
    """Show every problem of a spec; sends nothing, needs no key."""
    from orchestrator.cli import rejecting
    from orchestrator.cli.output import plural, say
    from orchestrator.errors import SpecError, too_many_problems
    from orchestrator.spec import Report
    from orchestrator.spec import validate as read

    how = read_how(encoding, delimiter, keep)
    found = Report(0, [], [])
    try:
        with rejecting.rejects(rejects, spec):
            found = read(spec, how)
            for note in () if json else found.notes:
                say(f"note: {note}")
            if found.problems:
                raise too_many_problems(spec, found.problems, then="it would be refused")
            rejecting.write(rejects, ())
    except SpecError as error:
        if not json:
            raise
        problems = error.problems or [rejecting.file_problem(spec, error)]
        _print_found(found.rows, problems, found.notes)
        return error.exit_code
    if json:
        _print_found(found.rows, (), found.notes)
    else:
        print(f"{spec}: {plural(found.rows, 'row')}, no problems")
    return 0


def _print_found(rows: int, problems: Sequence[Problem], notes: Sequence[Note]) -> None:
    from orchestrator.cli.output import print_json

    told = [problem.as_json() for problem in problems]
    shape = {"valid": not told, "rows": rows, "problems": told, "notes": [str(n) for n in notes]}
    print_json(shape)


def plan(
    spec: SpecPath,
    name: Name = None,
    label: Label = None,
    budget: Budget = None,
    prices: Prices = None,
    reuse: Reuse = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    keep: Keep = None,
    skip_invalid: SkipInvalid = False,
    rejects: Rejects = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.plan", help="Save the plan, to be submitted as it is."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Show what submitting a spec would send and cost; sends nothing."""
    import time

    from orchestrator.cli import rejecting
    from orchestrator.cli.output import print_json
    from orchestrator.errors import ConfigError
    from orchestrator.runtime import open_runtime
    from orchestrator.services import planning, saved_plan

    how = read_how(encoding, delimiter, keep, skip_invalid=skip_invalid)
    try:
        runtime = open_runtime(create=False)
    except ConfigError as error:
        if error.code != "no_data_dir":
            raise
        context = None
    else:
        context = runtime.context
    nanos = read_budget(budget)
    if output is not None:
        saved_plan.check_name(output)
    with rejecting.rejects(rejects, spec):
        made = planning.plan(
            context,
            spec,
            name=name,
            label=label,
            budget_nanos=nanos,
            how=how,
            prices=prices,
            reuse=reuse,
            now=time.time_ns() // 1_000_000,
        )
    rejecting.write(rejects, made.skipped)
    if output is not None:
        saved_plan.save(made, spec, output, budget_nanos=nanos, how=how, prices=prices, reuse=reuse)
    if json:
        print_json(made.as_json())
    else:
        _print_plan(made)
        if output is not None:
            print(f"  saved: orchestrator submit {output}")
    return 0


def _print_plan(plan: Plan) -> None:
    from orchestrator.cli.output import about, console, dollars, plural
    from orchestrator.services.pricing import origin
    from orchestrator.services.status import span

    out = console()
    out.print(f"[bold]{plan.title}[/bold]: {plural(plan.rows, 'row')}")
    parts = {
        "new": plan.new,
        "known": plan.known,
        "changed": plan.changed,
        "removed": plan.removed,
        "duplicates": plan.duplicates,
        "invalid": plan.invalid,
    }
    if plan.reused:
        parts["reused"] = plan.reused
    out.print("  " + " · ".join(f"{what} {number:,}" for what, number in parts.items()))
    if plan.states:
        known = ", ".join(f"{number:,} {state}" for state, number in plan.states.items())
        out.print(f"  of the known: {known}")
    if plan.classes:
        out.print(f"  cost of the new rows: {about(plan.cost)}")
    for price_class, (number, price) in sorted(plan.classes.items()):
        told = f"{number:,}, price {origin(price)}"
        if price is not None:
            cost = f"{dollars(price.nanos)} = {dollars(number * price.nanos)}"
            told = f"{number:,} × {cost} ({origin(price)})"
        out.print(f"    {price_class}: {told}")
    if plan.budget_left is not None:
        out.print(f"  budget left: {dollars(plan.budget_left)}")
        out.print(f"  the budget {plan.verdict.text}")
    if plan.duration is not None:
        low, high = span(plan.duration.low), span(plan.duration.high)
        earlier = plural(plan.duration.sample, "earlier video")
        out.print(f"  expected to take {low} to {high}, judged by {earlier}")
    elif plan.new:
        out.print("  how long it will take is not known before a few videos are there")
    for note in (*plan.notes, *plan.remarks):
        out.print(f"  note: {note}", markup=False)


def submit(
    spec: SpecPath,
    name: Name = None,
    label: Label = None,
    budget: Budget = None,
    max_price: MaxPrice = None,
    limit: Limit = None,
    canary: CanaryRows = None,
    canary_failures: CanaryFailures = None,
    canary_cost: CanaryCost = None,
    canary_deadline: CanaryDeadline = None,
    priority: Priority = None,
    account: AccountName = None,
    prices: Prices = None,
    yes: Yes = False,
    append: Append = False,
    prune: Prune = False,
    keep_removed: KeepRemoved = False,
    resend_changed: ResendChanged = False,
    reuse: Reuse = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    keep: Keep = None,
    skip_invalid: SkipInvalid = False,
    rejects: Rejects = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and watch the batch.")] = False,
    json: Json = False,
) -> int:
    """Record a spec and let workers send it."""
    from orchestrator.cli import following, taking
    from orchestrator.cli.output import say
    from orchestrator.runtime import open_runtime

    how = read_how(encoding, delimiter, keep, skip_invalid=skip_invalid)
    pace = read_pace(limit, priority, canary, canary_failures, canary_cost, canary_deadline)
    runtime = open_runtime()
    wishes = taking.Wishes(
        name,
        label,
        read_budget(budget),
        read_budget(max_price, "--max-price"),
        append,
        prune,
        keep_removed,
        resend_changed,
        how,
        rejects,
        pace=pace,
        prices=prices,
        reuse=reuse,
        account=read_account(account),
    )
    taken = taking.take(runtime, spec, wishes, yes=yes, json=json)
    if taken is None:
        return 0
    taking.print_taken(runtime, taken, json=json)
    if taken.download is not None:
        say(
            f"note: only run saves videos by itself: "
            f"orchestrator download {taken.batch.title} -o {taken.download}"
        )
    if not watch:
        following.say_if_idle(following.read(runtime, taken.batch))
        return 0
    return following.watch(runtime, taken.batch)


def read_budget(text: str | None, option: str = "--budget") -> int | None:
    """An amount in nano-dollars. Raises UsageError."""
    from orchestrator.domain.money import AmountError, parse_amount
    from orchestrator.errors import UsageError

    if text is None:
        return None
    try:
        return parse_amount(text.removeprefix("$")).nanos
    except AmountError as error:
        raise UsageError(
            f"{option}: {error}", mend="Give an amount in USD, such as 25.50."
        ) from None


def read_account(text: str | None) -> str | None:
    """An account's name as typed. Raises UsageError."""
    from orchestrator.domain.account import account_name
    from orchestrator.errors import UsageError

    if text is None:
        return None
    name = account_name(text)
    if name is None:
        raise UsageError(
            f"--account {text!r} cannot be the name of an account",
            mend="Use letters, digits and single _ only, as in MINDVIDEO_API_KEY_<NAME>.",
        )
    return name


def read_pace(
    limit: str | None,
    priority: int | None,
    rows: int | None,
    failures: str | None,
    cost: str | None,
    deadline: str | None,
) -> Pace:
    """How far and how fast the batch may go, as typed. Raises UsageError."""
    from orchestrator.domain.canary import MAX_ROWS, Canary, Pace, patience, ratio, share
    from orchestrator.errors import UsageError

    most = 0 if limit == "none" else None
    if limit is not None and most is None:
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= MAX_ROWS:
            raise UsageError(
                f"--limit {limit} is no number of rows", mend="Give one from 1, or none."
            )
        most = int(limit)
    told = {
        "--canary-failures": ("failures", failures, share),
        "--canary-cost": ("cost", cost, ratio),
        "--canary-deadline": ("patience", deadline, patience),
    }
    bounds = {}
    for option, (name, text, read) in told.items():
        if text is None:
            continue
        if rows is None:
            raise UsageError(f"{option} needs --canary", mend="Say how many rows go first.")
        try:
            bounds[name] = read(text)
        except ValueError as error:
            mend = f"See `orchestrator submit --help`, at {option}."
            raise UsageError(f"{option} {text}: {error}", mend=mend) from None
    if rows is not None and most and rows > most:
        raise UsageError(
            f"a canary of {rows:,} rows would never end under a limit of {most:,}",
            mend="Let fewer rows go first, or raise --limit.",
        )
    return Pace(most, None if rows is None else Canary(rows, **bounds), priority)


_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def read_how(
    encoding: str | None, delimiter: str | None, keep: str | None, *, skip_invalid: bool = False
) -> Reading:
    """What the options tell about a spec's file. Raises UsageError."""
    from orchestrator.errors import UsageError
    from orchestrator.spec import Reading, check_encoding, check_kept

    char = None if delimiter is None else _DELIMITERS.get(delimiter.lower(), delimiter)
    if char is not None and (len(char) != 1 or char in '"\r\n\0 ' or char.isalnum()):
        raise UsageError(
            f"--delimiter {delimiter!r} cannot separate cells",
            mend="Give one character, such as ; or |, or the word tab.",
        )
    kept = set()
    for name in (keep or "").split(","):
        if name.strip():
            try:
                kept.add(check_kept(name))
            except ValueError as error:
                raise UsageError(
                    f"--keep: {name.strip()!r} {error}", mend=getattr(error, "mend", "")
                ) from None
    known = None if encoding is None else check_encoding(encoding)
    return Reading(known, char, frozenset(kept), skip_invalid)
