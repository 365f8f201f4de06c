"""Start Celery's worker or beat without Celery's command line.

`celery -A workers worker` does the same; its command line and the plugins that it loads (Flower's
among them) take half a second of processor time to import, in each process that `up` starts.
"""

from __future__ import annotations

import argparse
import gc
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery


@cache
def load() -> Celery:
    """Import everything that a worker or beat needs. Raises SystemExit as `workers.app` does."""
    # What is imported stays, so nothing of it is looked through, here or in the forks.
    gc.disable()
    # redis-py imports OpenTelemetry's metrics wherever that is installed, for an eighth of a second
    # of processor time in each process. Nothing here has any.
    sys.modules.setdefault("opentelemetry.sdk.metrics", None)  # type: ignore[arg-type]
    from workers.app import app

    app.loader.import_default_modules()
    gc.freeze()
    gc.enable()
    return app


def main(arguments: list[str]) -> int:
    app = load()
    from celery.utils.nodenames import host_format

    parser = argparse.ArgumentParser(prog="python -m workers.run_celery", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker")
    worker.add_argument("--queues", required=True)
    worker.add_argument("--concurrency", type=int, required=True)
    worker.add_argument("--hostname", required=True)
    beat = commands.add_parser("beat")
    beat.add_argument("--schedule", required=True)
    options = parser.parse_args(arguments)
    if options.command == "beat":
        app.Beat(schedule=options.schedule, loglevel="WARNING", quiet=True).run()
        return 0
    consumer = app.Worker(
        queues=options.queues,
        concurrency=options.concurrency,
        hostname=host_format(options.hostname),
        loglevel="WARNING",
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    consumer.start()
    return consumer.exitcode or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
