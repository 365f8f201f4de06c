"""The sandbox's command line; everything heavy is imported when a command runs."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.sandbox.store import Key, Store

UNUSABLE = 3

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The local MindVideo API: same requests, same answers, no money.",
)
keys = typer.Typer(no_args_is_help=True, help="The sandbox's API keys.")
app.add_typer(keys, name="keys")


def _default_state() -> Path:
    import platformdirs

    given = os.environ.get("SANDBOX_STATE")
    return Path(given) if given else platformdirs.user_state_path("orchestrator") / "sandbox.db"


State = Annotated[
    Path | None,
    typer.Option("--state", help="Where it remembers everything.", envvar="SANDBOX_STATE"),
]
KeyRate = Annotated[
    float | None,
    typer.Option("--rate-limit", help="Answer it 429 above so many submits a second.", min=0.001),
]
KeyInFlight = Annotated[
    int | None,
    typer.Option("--max-in-flight", help="Answer it 429 beyond so many unfinished tasks.", min=1),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _opened(state: Path | None) -> Iterator[Store]:
    from orchestrator.sandbox.store import StateError, Store

    try:
        store = Store(state or _default_state())
    except StateError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(UNUSABLE) from None
    yield store


@app.command(epilog="Example: orchestrator sandbox serve --speed 10 --fault submit:error_503:0.1")
def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8790,
    state: State = None,
    key: Annotated[
        str | None, typer.Option(help="Make sure that this key exists.", envvar="SANDBOX_KEY")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The same, from a file.", envvar="SANDBOX_KEY_FILE")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write {base_url, pid} here once it listens.")
    ] = None,
    speed: Annotated[float, typer.Option(help="Time runs so much faster.", min=0.001)] = 1.0,
    queue: Annotated[float, typer.Option(help="Seconds a task is queued.", min=0)] = 0.5,
    median: Annotated[float, typer.Option(help="Median seconds a task runs.", min=0)] = 8.0,
    spread: Annotated[float, typer.Option(help="Sigma of the lognormal run times.", min=0)] = 0.3,
    slots: Annotated[
        int | None, typer.Option(help="How many tasks run at once; the rest is queued.", min=1)
    ] = None,
    failure_rate: Annotated[float, typer.Option(help="Share of tasks that fail.")] = 0.0,
    cancel_rate: Annotated[float, typer.Option(help="Share of tasks that get cancelled.")] = 0.0,
    charge_failures: Annotated[
        bool, typer.Option("--charge-failures", help="Failed tasks cost what good ones do.")
    ] = False,
    rate_limit: Annotated[
        float | None, typer.Option(help="Answer 429 above so many submits a second.")
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(help="Answer 429 beyond so many unfinished tasks.")
    ] = None,
    key_scope: Annotated[
        str, typer.Option(help="Whose idempotency keys are: account or key.")
    ] = "account",
    url_lifetime: Annotated[
        float | None, typer.Option(help="Seconds after which an output's URL is dead.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every task's fate.")] = 0,
    fault: Annotated[
        list[str] | None, typer.Option(help="on:kind:rate, repeatable; see docs/sandbox.md.")
    ] = None,
) -> None:
    """Serve the API until Ctrl-C."""
    from orchestrator.sandbox.app import Sandbox
    from orchestrator.sandbox.engine import Behaviour
    from orchestrator.sandbox.faults import FaultError, Faults, parse
    from orchestrator.sandbox.server import listen
    from orchestrator.sandbox.server import serve as serve_forever
    from orchestrator.sandbox.tasks import Limits, Tasks

    if key_scope not in ("account", "key"):
        raise typer.BadParameter("account or key", param_hint="--key-scope")
    try:
        faults = Faults(seed, [parse(text) for text in fault or []])
    except FaultError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None
    behaviour = Behaviour(
        seed, speed, queue, median, spread, slots, failure_rate, cancel_rate, charge_failures
    )
    limits = Limits(rate_limit, max_in_flight, key_scope == "key")
    if key is None and key_file is not None:
        key = _read_key(key_file)
    with _opened(state) as store:
        try:
            server = listen(host, port)
        except OSError as error:
            typer.echo(f"error: {host}:{port} cannot be served: {error.strerror}", err=True)
            typer.echo("  Choose another --port; 0 takes a free one.", err=True)
            raise typer.Exit(UNUSABLE) from None
        greeting = "sandbox at {base_url}"
        if key is not None:
            store.create_key("given", key)
        elif not store.keys():
            _, text = store.create_key("first")
            greeting += f"\nexport MINDVIDEO_BASE_URL={{base_url}} MINDVIDEO_API_KEY={text}"
        else:
            greeting += "\nits keys are those it had; `sandbox keys create` makes another"
        sandbox = Sandbox(behaviour, limits, store, Tasks(store, behaviour, limits), faults)
        sandbox.url_lifetime = url_lifetime
        serve_forever(sandbox, server, ready_file, greeting, host=host)


def _read_key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{path} cannot be read: {error}", param_hint="--key-file"
        ) from None


@keys.command("create", epilog="Example: orchestrator sandbox keys create --name laptop")
def create(
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    rate_limit: KeyRate = None,
    max_in_flight: KeyInFlight = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    with _opened(state) as store:
        made, text = store.create_key(name, per_second=rate_limit, in_flight=max_in_flight)
    typer.echo(json_module.dumps({"id": made.id, "key": text}) if json else f"{made.id}  {text}")


@keys.command("list", epilog="Example: orchestrator sandbox keys list --json")
def list_keys(state: State = None, json: Json = False) -> None:
    """List the keys; only their last characters are known."""
    from dataclasses import asdict

    with _opened(state) as store:
        found = store.keys()
    if json:
        typer.echo(json_module.dumps([asdict(key) for key in found]))
        return
    for key in found:
        typer.echo(
            f"{key.id}  {key.hint}  {'disabled' if key.disabled else 'enabled '}  {key.name}"
            f"{_limits_of(key)}"
        )


def _limits_of(key: Key) -> str:
    told = ""
    if key.per_second is not None:
        told += f"  {key.per_second:g} submits a second"
    if key.in_flight is not None:
        told += f"  {key.in_flight} unfinished tasks"
    return told


@keys.command(epilog="Example: orchestrator sandbox keys limit key_1a2b3c4d --rate-limit 5")
def limit(
    key_id: str,
    rate_limit: KeyRate = None,
    max_in_flight: KeyInFlight = None,
    state: State = None,
) -> None:
    """Give a key other limits of its own from now on; what is left out is no limit."""
    with _opened(state) as store:
        _known(store.limit_key(key_id, rate_limit, max_in_flight), key_id)


@keys.command(epilog="Example: orchestrator sandbox keys disable key_1a2b3c4d")
def disable(key_id: str, state: State = None) -> None:
    """Refuse a key from now on."""
    with _opened(state) as store:
        _known(store.set_disabled(key_id, True), key_id)


@keys.command(epilog="Example: orchestrator sandbox keys enable key_1a2b3c4d")
def enable(key_id: str, state: State = None) -> None:
    """Take a disabled key again."""
    with _opened(state) as store:
        _known(store.set_disabled(key_id, False), key_id)


@keys.command(epilog="Example: orchestrator sandbox keys delete key_1a2b3c4d")
def delete(key_id: str, state: State = None) -> None:
    """Forget a key."""
    with _opened(state) as store:
        _known(store.delete_key(key_id), key_id)


def _known(found: bool, key_id: str) -> None:
    if not found:
        typer.echo(f"error: there is no key {key_id}; `sandbox keys list` shows them", err=True)
        raise typer.Exit(2)
