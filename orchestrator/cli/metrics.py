"""metrics, metrics serve: the installation's figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.exporter import Exporter

app = typer.Typer(
    invoke_without_command=True,
    help="Figures for Prometheus: printed once, or served. Example: orchestrator metrics",
)


@app.callback()
def metrics(context: typer.Context) -> int:
    """Print the installation's figures once, in Prometheus' text format."""
    if context.invoked_subcommand is not None:
        return 0
    import sys

    from orchestrator.telemetry.exposition import render

    exporter = _exporter()
    try:
        sys.stdout.write(render(exporter.measurer.families()).decode())
    finally:
        exporter.close()
    return 0


@app.command(epilog="Example: orchestrator metrics serve --port 9464")
def serve(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 9464,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
) -> int:
    """Serve /metrics, /healthz and /readyz until Ctrl-C; one for the whole fleet is enough."""
    from orchestrator.cli.output import emit, on_terminal
    from orchestrator.errors import ConfigError
    from orchestrator.settings import load_settings
    from orchestrator.telemetry import logs
    from orchestrator.telemetry.server import make_server

    exporter = _exporter()
    logs.start(load_settings())
    try:
        server = make_server(host, port, exporter.pages())
    except OSError as error:
        raise ConfigError(
            f"nothing can listen on {host}:{port}: {error.strerror or error}",
            mend="Choose another --port or --host.",
        ) from None
    bound = server.server_address[1]
    if on_terminal():
        print(f"metrics: http://{host}:{bound}/metrics (Ctrl-C ends)")
    else:
        emit("serving", host=host, port=bound)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        exporter.close()
    return 0


def _exporter() -> Exporter:
    from orchestrator.exporter import make_exporter
    from orchestrator.settings import load_settings

    return make_exporter(load_settings())
