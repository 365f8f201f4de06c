"""Saving videos for a command: alone, or beside a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Self

from rich.filesize import decimal
from rich.status import Status

from orchestrator.cli.output import console, emit, on_terminal, plural, print_json, say
from orchestrator.domain.naming import DEFAULT_TEMPLATE, Template
from orchestrator.runtime import Runtime, make_askers, make_video_client
from orchestrator.services.downloading import Downloader, Report, Saved
from orchestrator.services.targets import alone, open_target
from orchestrator.store.batches import Batch

SHOWN_REASONS = 5


def check_place(runtime: Runtime, output: str) -> None:
    """Raises UsageError or ConfigError where nothing can be saved: better now than later."""
    open_target(output, _work(runtime))


def _work(runtime: Runtime) -> Path:
    return runtime.settings.data_dir / "downloads"


def save(
    runtime: Runtime,
    batch: Batch,
    output: str,
    template: str | None,
    ended: Callable[[], bool],
    told: Callable[[Saved], None],
) -> Report:
    """Save until `ended`. Raises UsageError for a bad folder or template, ConfigError."""
    work = _work(runtime)
    target = open_target(output, work)
    names = Template(template or DEFAULT_TEMPLATE, batch.columns)

    async def run() -> Report:
        askers = make_askers(runtime.settings)
        client = make_video_client(runtime.settings)
        try:
            return await Downloader(
                context=runtime.context,
                batch=batch,
                target=target,
                template=names,
                client=client,
                ask=askers.ask,
                at_once=runtime.settings.downloads,
                told=told,
            ).run(ended)
        finally:
            await client.aclose()
            await askers.client.aclose()

    with alone(target, work):
        return asyncio.run(run())


class Beside:
    """Saving in a thread of its own, while this process does something else."""

    def __init__(self, runtime: Runtime, batch: Batch, output: str, template: str | None) -> None:
        self._files = 0
        self._size = 0
        self._output = output
        self._over = threading.Event()
        self._interrupted = threading.Event()
        self._result: Report | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._save, args=(runtime, batch, output, template), daemon=True
        )

    def _save(self, runtime: Runtime, batch: Batch, output: str, template: str | None) -> None:
        try:
            self._result = save(runtime, batch, output, template, self._ended, self._told)
        except BaseException as error:  # noqa: BLE001 raised again where the report is asked for
            self._error = error

    def _ended(self) -> bool:
        if self._interrupted.is_set():
            raise Interrupted
        return self._over.is_set()

    def _told(self, saved: Saved) -> None:
        self._files, self._size = self._files + 1, self._size + saved.size
        if not on_terminal():
            emit("saved", **asdict(saved))

    def line(self) -> str:
        """What the screen says of it."""
        return f"saved {plural(self._files, 'video')}, {decimal(self._size)}, in {self._output}"

    def report(self) -> Report:
        """After nothing more will come: what was saved in the end."""
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None  # noqa: S101 the thread ended in one of two ways
        return self._result

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._interrupted.set()
        self._over.set()
        self._thread.join()


def beside(runtime: Runtime, batch: Batch, output: str | None) -> Beside | nullcontext[None]:
    """Saving to `output` while something else goes on; nothing where no place is given."""
    return nullcontext() if output is None else Beside(runtime, batch, output, None)


class Interrupted(Exception):  # noqa: N818 a decision, not an error
    """Whoever waited for the videos does not any more."""


class printing:  # noqa: N801 reads as a verb in `with`
    """A counter on a terminal, a line of NDJSON for each video off it, or nothing."""

    def __init__(self, *, bar: bool, quiet: bool) -> None:
        self._status = Status("looking for videos…", console=console()) if bar else None
        self._quiet = quiet

    def __enter__(self) -> Callable[[Saved], None]:
        files = size = 0
        if self._status is not None:
            self._status.start()

        def told(saved: Saved) -> None:
            nonlocal files, size
            files, size = files + 1, size + saved.size
            if self._status is not None:
                self._status.update(f"{files:,} saved, {decimal(size)}: {saved.path}")
            elif not self._quiet:
                emit("saved", **asdict(saved))

        return told

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def print_report(batch: Batch, report: Report, output: str, *, json: bool) -> None:
    if json:
        print_json({"batch": batch.title, "target": output, **report.as_json()})
    elif not on_terminal():
        emit("downloaded", batch=batch.title, target=output, **report.as_json())
    else:
        known = f", {report.known:,} were there already" if report.known else ""
        saved = plural(report.saved, "video")
        print(f"saved {saved} ({decimal(report.size)}) in {output}{known}")
    if report.lost:
        say(f"{plural(report.lost, 'video')} cannot be had any more (output_lost)")
    if report.failed:
        say(f"{plural(report.failed, 'video')} left for another try: the same command goes on")
    for reason, number in sorted(report.reasons.items(), key=lambda one: -one[1])[:SHOWN_REASONS]:
        say(f"  {number:,} × {reason}")
    if report.stopped is not None:
        say(f"stopped: {report.stopped.message}")
        say(f"  {report.stopped.mend}")
