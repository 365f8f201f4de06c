"""journal check, compact: the files that remember every purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(no_args_is_help=True, help="Look after the journal of purchases.")


@app.command(epilog="Example: orchestrator journal check --json")
def check(json: Json = False) -> int:
    """Read every journal and report lines that cannot be read."""
    from orchestrator.cli.output import plural, print_json
    from orchestrator.journal import Damage, read
    from orchestrator.settings import load_settings

    directory = load_settings().journal_dir
    records = 0
    damage: list[Damage] = []
    for entry in read(directory):
        if isinstance(entry, Damage):
            damage.append(entry)
        else:
            records += 1
    serious = [one for one in damage if not one.torn]
    if json:
        print_json(
            {
                "directory": str(directory),
                "records": records,
                "damage": [str(one) for one in serious],
                "torn": [str(one) for one in damage if one.torn],
            }
        )
    else:
        print(f"{directory}: {plural(records, 'record')}, {plural(len(serious), 'damaged line')}")
        for one in serious:
            print(f"  {one}")
    return 5 if serious else 0


@app.command(epilog="Example: orchestrator journal compact")
def compact(json: Json = False) -> int:
    """Make the journal smaller; no purchase is forgotten."""
    import socket
    from dataclasses import asdict

    from orchestrator.cli.output import plural, print_json
    from orchestrator.journal.compact import compact as rewrite
    from orchestrator.runtime import open_runtime
    from orchestrator.store import restoring

    runtime = open_runtime(create=False)

    def moved(old: Sequence[str], new: Sequence[str]) -> None:
        with runtime.context.store.write() as tx:
            restoring.replace_journals(tx, old, new, socket.gethostname())

    done = rewrite(runtime.settings.journal_dir, moved=moved)
    if json:
        print_json(asdict(done))
    else:
        print(
            f"{plural(done.files_before, 'file')} of {done.bytes_before:,} bytes became "
            f"{plural(done.files_after, 'file')} of {done.bytes_after:,} bytes"
        )
        for name in done.kept:
            print(f"  {name} is being written or damaged, and stays as it is")
    return 0


@app.command(epilog="Example: orchestrator journal waive worker-7")
def waive(
    host: Annotated[str, typer.Argument(help="The machine, as `orchestrator doctor` names it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> int:
    """Go on without the journals of a machine that is gone for good with its disk.

    After the database went back to an older state, what only that machine knew to be bought may be
    bought again: under the same key, which the provider remembers for a while.
    """
    from orchestrator.cli.output import ask, can_answer, plural, print_json
    from orchestrator.errors import UsageError
    from orchestrator.runtime import open_runtime
    from orchestrator.store import lineage

    runtime = open_runtime(create=False)
    with runtime.context.store.read() as tx:
        waited = [file for file in lineage.missing(tx) if file.host == host]
        barred = lineage.closed(tx) is not None
    if not barred or not waited:
        raise UsageError(
            f"nothing waits for a journal of {host}",
            mend="`orchestrator doctor` shows whether something waits, and for whom.",
            code="nothing_waits",
        )
    if not yes:
        question = f"What only {host} knew to be bought may be bought again. Go on?"
        if not can_answer():
            raise UsageError(question, mend="Say so with --yes.", code="not_confirmed")
        if not ask(question):
            return 0
    with runtime.context.store.write() as tx:
        done = lineage.waive(tx, host)
    if json:
        print_json({"host": host, "waived": done})
    else:
        print(f"{plural(len(done), 'journal')} of {host} will not be waited for")
    return 0
