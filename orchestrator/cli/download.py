"""download: the videos of a batch on disk, or in an object store."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import BatchName, Json

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="A folder, or a URL such as s3://bucket/prefix (default: NAME@LABEL here).",
    ),
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator download launch -o videos")(download)


def download(
    batch: BatchName,
    output: Output = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEMPLATE",
            help="File names, such as '{label}/{position:05}-{row_key}.mp4' (the default has no "
            "folder); a spec's own columns are fields too.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay until the batch is at its end.")
    ] = False,
    json: Json = False,
) -> int:
    """Save the videos of a batch; the same command again saves only what is missing."""
    from orchestrator.cli import following, saving
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import on_terminal
    from orchestrator.runtime import open_runtime

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)

    def ended() -> bool:
        return not follow or following.read(runtime, found).settled

    place = output or found.title
    with saving.printing(bar=on_terminal() and not json, quiet=json) as told:
        report = saving.save(runtime, found, place, name, ended, told)
    saving.print_report(found, report, place, json=json)
    return report.exit_code()
