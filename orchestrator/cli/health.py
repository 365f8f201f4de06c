"""health worker, health beat, health ready: for whatever restarts processes and sends them work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json

if TYPE_CHECKING:
    from orchestrator.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Whether this machine's processes are at work: exit 0, or 3 with the reason.",
)
QUEUES = ("submit", "poll", "ticks")


@app.command(epilog="Example: orchestrator health worker --queue submit")
def worker(
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="NAME", help="Only those that take submit, poll or ticks."),
    ] = None,
    json: Json = False,
) -> int:
    """Whether a worker process of this machine is there and turns."""
    from orchestrator.errors import UsageError
    from orchestrator.settings import load_settings

    if queue is not None and queue not in QUEUES:
        raise UsageError(f"there is no queue {queue!r}", mend=f"Queues are {', '.join(QUEUES)}.")
    start = f"celery -A workers worker{'' if queue is None else f' --queues {queue}'}"
    return _alive(load_settings().presence_dir, "worker", queue, start=start, json=json)


@app.command(epilog="Example: orchestrator health beat")
def beat(json: Json = False) -> int:
    """Whether a beat of this machine is there and ticks."""
    from orchestrator.settings import load_settings

    start = "celery -A workers beat"
    return _alive(load_settings().beats_dir, "beat", None, start=start, json=json)


@app.command(epilog="Example: orchestrator health ready")
def ready(json: Json = False) -> int:
    """Whether database and broker can be used: what a worker needs before it is started."""
    from orchestrator.cli.output import print_json
    from orchestrator.settings import load_settings

    settings = load_settings()
    found = {"database": _database(settings), "broker": _broker(settings)}
    if json:
        print_json(found)
    else:
        print("\n".join(f"{name}: {text}" for name, text in found.items()))
    return 0


def _alive(folder: Path, kind: str, queue: str | None, *, start: str, json: bool) -> int:
    import socket
    import time
    from json import dumps

    from orchestrator.errors import ServiceError
    from orchestrator.services import presence

    host = socket.gethostname()
    ages = []
    for sign in presence.signs(folder):
        said, where, queues = [*sign.said.split(), "", "", ""][:3]
        if (said, where) == (kind, host) and (queue is None or queue in queues.split(",")):
            ages.append(max(0.0, time.time() - sign.at))
    fresh = [age for age in ages if age <= presence.FRESH_SECONDS]
    what = kind if queue is None else f"{kind} for {queue}"
    if not fresh:
        raise ServiceError(
            f"the {what} on {host} stands still: its last sign is {min(ages):.0f}s old"
            if ages
            else f"no {what} is running on {host}",
            mend=f"Start it again: `{start}`.",
            code=f"no_{kind}",
        )
    if json:
        # Not by cli.output, which takes twice as long to import as all of this takes.
        print(dumps({"processes": len(fresh), "signed_seconds_ago": round(min(fresh), 1)}))
    else:
        number = "1 process" if len(fresh) == 1 else f"{len(fresh)} processes"
        print(f"{what}: {number}, signed {min(fresh):.0f}s ago")
    return 0


def _database(settings: Settings) -> str:
    from orchestrator.store import schema
    from orchestrator.store.engine import Store
    from orchestrator.store.tables import SCHEMA

    if settings.database_url_setting is None and not settings.data_dir.exists():
        return "will be made by the first submit"
    store = Store(settings.database_url)
    try:
        schema.check(store)
    finally:
        store.close()
    return f"revision {SCHEMA}"


def _broker(settings: Settings) -> str:
    from orchestrator.runtime import check_servers

    if settings.embedded_broker:
        return "embedded, started by `run` and `up`"
    check_servers(settings, database=False)
    return "answers"
