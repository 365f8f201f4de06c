"""The sandbox as a process of its own, for tests that need a provider."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

KEY = "mv_live_test_0123456789abcdef0123456789abcdef"


@dataclass
class Sandbox:
    """A running sandbox; `root` is its address without the API's path."""

    base_url: str
    process: subprocess.Popen[bytes]
    state: Path

    @property
    def root(self) -> str:
        return self.base_url.removesuffix("/api/v1")

    def ledger(self) -> dict[str, object]:
        found: dict[str, object] = httpx.get(f"{self.root}/_sandbox/ledger").json()
        return found

    @property
    def charges(self) -> int:
        return int(str(self.ledger()["charges"]))

    def faults(self, *faults: dict[str, object]) -> None:
        """Switch these faults on, and every other off."""
        httpx.put(f"{self.root}/_sandbox/faults", json=list(faults)).raise_for_status()


@contextlib.contextmanager
def sandbox(folder: Path, *options: str, port: int = 0) -> Iterator[Sandbox]:
    """Serve until the block ends; `folder` keeps its state, so it can be served again."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "orchestrator.sandbox", "--port", str(port), "--key", KEY]
    command += ["--state", str(folder / "sandbox.db"), "--ready-file", str(ready), *options]
    with (folder / "sandbox.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not ready.exists():
            assert process.poll() is None, (folder / "sandbox.log").read_text()
            time.sleep(0.02)
        base_url = json.loads(ready.read_text())["base_url"]
        yield Sandbox(base_url, process, folder / "sandbox.db")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
