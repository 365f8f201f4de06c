"""An installation of its own for each test: a folder, an environment, the command in it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.sandbox import KEY
from tests.support.zygote import Running, zygote

COMMAND = [sys.executable, "-m", "orchestrator"]


@dataclass
class Installation:
    """Where a person works: `folder` is the working directory of every command."""

    folder: Path
    base_url: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a person who configured just this; none of the tester's settings."""
        own = ("MINDVIDEO_", "ORCHESTRATOR_", "FLOWER_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return clean | {
            "MINDVIDEO_API_KEY": KEY,
            "MINDVIDEO_BASE_URL": self.base_url,
            "ORCHESTRATOR_DATA_DIR": str(self.folder / "data"),
            "ORCHESTRATOR_JOURNAL_DIR": str(self.folder / "journal"),
            **self.extra,
        }

    def call(self, *arguments: str, timeout: float = 150) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a process of its own."""
        if not self._needs_an_interpreter:
            return zygote().call(arguments, cwd=self.folder, env=self.env, timeout=timeout)
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def _needs_an_interpreter(self) -> bool:
        """Whether the environment has something that only a new one reads."""
        return any(name.startswith(("PYTHON", "LC_", "LANG")) for name in self.extra)

    def start(self, *arguments: str) -> Running:
        """Start a command that stays."""
        if not self._needs_an_interpreter:
            return zygote().start(arguments, cwd=self.folder, env=self.env)
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def status(self, batch: str) -> dict[str, object]:
        done = self.call("status", batch, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def results(self, batch: str) -> list[dict[str, object]]:
        done = self.call("results", batch, "--format", "json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    def write(self, name: str, rows: Sequence[Sequence[object]]) -> str:
        """A CSV file in the working directory; its first row is the header."""
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return name

    def prompts(self, name: str, number: int) -> str:
        rows = [
            ["id", "prompt"],
            *([f"r{i}", f"{name}: a red kite, take {i}"] for i in range(number)),
        ]
        return self.write(name, rows)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for the outside to become so; fails the test when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
