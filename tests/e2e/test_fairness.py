"""A small batch does not wait for a large one that was there before it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.support.installation import Installation, until
from tests.support.sandbox import sandbox

CHUNK = 50


def test_twenty_rows_behind_thousands_do_not_wait_for_them(tmp_path: Path) -> None:
    """Before them go the chunk under way, the two that were reserved, and one turn of the large."""
    with sandbox(tmp_path / "provider", "--queue", "0.1", "--median", "0.3") as provider:
        paced = {"ORCHESTRATOR_WORKER_PROCESSES": "1", "ORCHESTRATOR_REQUESTS_PER_SECOND": "40"}
        here = Installation(tmp_path, provider.base_url, paced)
        with started(here):
            assert here.call("submit", here.prompts("large.csv", 5_000)).returncode == 0
            until(lambda: provider.charges >= CHUNK)
            assert here.call("submit", here.prompts("small.csv", 20)).returncode == 0
            before = provider.charges
            until(lambda: here.status("small")["sent"] == 20)
            bought = {row["idempotency_key"] for row in here.results("small")}
            until(lambda: len(ours(provider.root, bought)) == 20)
        order = ours(provider.root, bought)
        assert order[0] - before <= 4 * CHUNK, "of a hundred chunks that were there before"
        assert order[-1] - order[0] == 19, "all twenty in one chunk"


@contextlib.contextmanager
def started(here: Installation) -> Iterator[None]:
    up = here.start("up", "--no-flower")
    try:
        yield
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=60)


def ours(root: str, keys: set[object]) -> list[int]:
    """Where in the order of the charges those of these keys are."""
    rows = httpx.get(f"{root}/_sandbox/ledger?rows=1").json()["rows"]
    return [place for place, row in enumerate(rows) if row["idempotency_key"] in keys]
