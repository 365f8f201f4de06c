"""init, schema: a first spec to edit, and what editors need to complete it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where to (default: here).")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator init videos")(init)
    app.command(epilog="Example: orchestrator schema > spec.schema.json")(schema)


def init(folder: Folder = Path(), json: Json = False) -> int:
    """Write an example CSV, an example YAML, and the schema for editors; overwrites nothing."""
    import json as text

    from orchestrator.cli.output import print_json
    from orchestrator.errors import UsageError
    from orchestrator.spec import examples
    from orchestrator.spec.schema import json_schema

    files = {
        folder / "prompts.csv": examples.CSV,
        folder / "seasons.yaml": examples.YAML,
        folder / "spec.schema.json": text.dumps(json_schema(), indent=2) + "\n",
    }
    for path in files:
        if path.exists():
            raise UsageError(
                f"{path} is there already", mend="Name another directory: orchestrator init videos"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(content)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to: {error.strerror}", mend="Name another directory."
        ) from None
    if json:
        print_json({"written": [str(path) for path in files]})
        return 0
    for path in files:
        print(f"wrote {path}")
    print(f"next: orchestrator plan {folder / 'prompts.csv'}")
    return 0


def schema(json: Json = False) -> int:  # noqa: ARG001 it is JSON in any case
    """Print the JSON Schema of YAML specs."""
    import json as text

    from orchestrator.spec.schema import json_schema

    print(text.dumps(json_schema(), indent=2))
    return 0
