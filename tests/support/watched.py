"""A sandbox for tests that ask it often: making a client for each question costs more than it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.sandbox import Sandbox, sandbox


class Watched(Sandbox):
    """Asked over one connection."""

    def __init__(self, watched: Sandbox, client: httpx.Client) -> None:
        super().__init__(watched.base_url, watched.process, watched.state)
        self._client = client

    def ledger(self) -> dict[str, object]:
        found: dict[str, object] = self._client.get(f"{self.root}/_sandbox/ledger").json()
        return found

    def faults(self, *faults: dict[str, object]) -> None:
        answer = self._client.put(f"{self.root}/_sandbox/faults", json=list(faults))
        answer.raise_for_status()


@contextmanager
def watched_sandbox(folder: Path, *options: str) -> Iterator[Watched]:
    with sandbox(folder, *options) as running, httpx.Client(trust_env=False) as client:
        yield Watched(running, client)
