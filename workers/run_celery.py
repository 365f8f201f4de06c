"""Start Celery's worker or beat without Celery's command line.

`celery -A workers worker` does the same; its command line and the plugins that it loads (Flower's
among them) take half a second of processor time to import, in each process that `up` starts.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator import imports

if TYPE_CHECKING:
    from celery import Celery


@cache
def load() -> Celery:
    """Import everything that a worker or beat needs. Raises SystemExit as `workers.app` does."""
    # What is imported stays, so nothing of it is looked through, here or in the forks.
    gc.disable()
    imports.spare()
    from workers.app import app

    app.loader.import_default_modules()
    gc.freeze()
    gc.enable()
    return app


def main(arguments: list[str]) -> int:
    app = load()
    from celery.signals import worker_ready
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
    worker_ready.connect(_hear_signals)
    consumer.start()
    # The pool is joined. Python's own end would wait half a second for what its pipes may hold.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(consumer.exitcode or 0)


def _hear_signals(sender: Any, **_: object) -> None:
    """A signal ends the loop's wait at once; Celery would look after up to a second."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    sender.hub.add_reader(reading, os.read, reading, 64)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
