"""Events to a command: the event on its standard input, its id and kind in the environment."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

TIMEOUT_SECONDS = 30.0
_SECRET = ("MINDVIDEO_", "ORCHESTRATOR_", "FLOWER_")


class Command:
    """Runs `line` for each event, without a shell and without our settings; 0 means taken."""

    def __init__(self, line: str) -> None:
        self._argv = shlex.split(line)

    def deliver(self, event_id: str, body: str, _now: int) -> bool:
        """Whether the command ended with 0."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith(_SECRET)}
        told = {"EVENT_ID": event_id, "EVENT_TYPE": str(json.loads(body)["type"])}
        try:
            done = subprocess.run(
                self._argv,
                input=body.encode(),
                env=clean | told,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
