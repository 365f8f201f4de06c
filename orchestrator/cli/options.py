"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_batches(incomplete: str) -> list[str]:
    """Names for the shell; silence where there is no database to ask."""
    from orchestrator.errors import OrchestratorError
    from orchestrator.runtime import open_runtime
    from orchestrator.store import batches

    try:
        runtime = open_runtime(create=False)
        with runtime.context.store.read() as tx:
            return [title for title in batches.titles(tx) if title.startswith(incomplete)]
    except OrchestratorError:
        return []


SpecPath = Annotated[
    Path,
    typer.Argument(metavar="SPEC", help="A file of prompts, such as a CSV; - is standard input."),
]
BatchName = Annotated[
    str,
    typer.Argument(
        metavar="BATCH",
        help="name@label, or a name alone for its latest batch.",
        autocompletion=complete_batches,
    ),
]
BatchOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="BATCH",
        help="name@label, or a name alone for its latest batch.",
        autocompletion=complete_batches,
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="The batch's name (default: the file's stem).")
]
Label = Annotated[
    str | None, typer.Option("--label", help="Tells apart batches of one name (default: default).")
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="The file's encoding (default: UTF-8)."),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", metavar="CHAR", help="What separates cells (default: found); or tab."
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--keep", metavar="A,B", help="Own columns to give back in results, beside x_ ones."
    ),
]
Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="Write every problem there: CSV, or .jsonl."),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", metavar="N|none", help="Send no more than N rows of the batch in all."),
]
CanaryRows = Annotated[
    int | None,
    typer.Option(
        "--canary", metavar="N", min=1, help="Send N rows first, the others if these go well."
    ),
]
CanaryFailures = Annotated[
    str | None,
    typer.Option(
        "--canary-failures", metavar="SHARE", help="How many of them may fail (default 20%)."
    ),
]
CanaryCost = Annotated[
    str | None,
    typer.Option(
        "--canary-cost", metavar="RATIO", help="What they may cost of their estimate (1.2)."
    ),
]
CanaryDeadline = Annotated[
    str | None,
    typer.Option(
        "--canary-deadline", metavar="TIME", help="When one of them counts as failed (1h)."
    ),
]
Priority = Annotated[
    int | None,
    typer.Option("--priority", min=1, max=100, help="Rows for each one of a batch of priority 1."),
]
SkipInvalid = Annotated[
    bool,
    typer.Option("--skip-invalid", help="Take the good rows; bad ones become results `invalid`."),
]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="USD", help="Send no row that could pass this.")
]
MaxPrice = Annotated[
    str | None,
    typer.Option(
        "--max-price", metavar="USD", help="Send no row that costs more, or of unknown price."
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE", help="What rows cost before the provider said so: YAML or CSV."
    ),
]
AccountName = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Whose API key sends it (default: default)."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")]
Append = Annotated[
    bool, typer.Option("--append", help="Add rows although the batch knows none of them.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Withdraw unsent rows that the file no longer has.")
]
KeepRemoved = Annotated[
    bool, typer.Option("--keep-removed", help="Send rows although the file no longer has them.")
]
ResendChanged = Annotated[
    bool, typer.Option("--resend-changed", help="Buy edited rows again that were sent already.")
]
Reuse = Annotated[
    bool,
    typer.Option("--reuse", help="Take identical earlier successes of other batches, for nothing."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
