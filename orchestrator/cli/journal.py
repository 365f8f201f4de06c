"""journal check, compact: the files that remember every purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
