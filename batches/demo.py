"""`make demo`: the example batch against the local sandbox, a worker killed in the middle.

Everything it makes is in `.demo/`, everything it starts is stopped; the last line is read from the
sandbox's own ledger.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from orchestrator.settings import load_settings
from orchestrator.supervisor import connect
from orchestrator.supervisor.children import SUBMIT

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / ".demo"
KEY = "mv_live_demo_0123456789abcdef0123456789abcdef"
KILLED: list[int] = []
PACE = 5
"""Requests a second: slow enough that there is a middle to kill a worker in."""


def main() -> int:
    """Run the demo; 0 when every row was charged once and has its video."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    sandbox, base_url = start_sandbox()
    try:
        os.environ |= {
            "MINDVIDEO_API_KEY": KEY,
            "MINDVIDEO_BASE_URL": base_url,
            "ORCHESTRATOR_DATA_DIR": str(PLACE / "data"),
            "ORCHESTRATOR_JOURNAL_DIR": str(PLACE / "journal"),
            "ORCHESTRATOR_REQUESTS_PER_SECOND": str(PACE),
        }
        command = [sys.executable, "-m", "orchestrator", "run", str(HERE / "demo.csv"), "--yes"]
        print(f"$ orchestrator run {HERE.name}/demo.csv --yes", flush=True)
        run = subprocess.Popen(command)
        killer = threading.Thread(target=kill_a_worker, args=(base_url, run))
        killer.start()
        code = run.wait()
        killer.join()
        return code or judge(base_url)
    finally:
        sandbox.send_signal(signal.SIGTERM)
        sandbox.wait(10)


def start_sandbox() -> tuple[subprocess.Popen[bytes], str]:
    """The sandbox on a free port, and its base URL."""
    ready = PLACE / "sandbox.json"
    command = [sys.executable, "-m", "orchestrator.sandbox", "--port", "0", "--key", KEY]
    command += ["--state", str(PLACE / "sandbox.db"), "--ready-file", str(ready), "--median", "4"]
    with (PLACE / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    while not ready.exists():
        if process.poll() is not None:
            sys.exit(f"the sandbox did not start; see {PLACE / 'sandbox.log'}")
        time.sleep(0.05)
    return process, str(json.loads(ready.read_text())["base_url"])


def ledger(base_url: str) -> dict[str, object]:
    """The sandbox's account of what was charged."""
    root = base_url.removesuffix("/api/v1")
    with urllib.request.urlopen(f"{root}/_sandbox/ledger") as answer:
        found: dict[str, object] = json.load(answer)
    return found


def kill_a_worker(base_url: str, run: subprocess.Popen[bytes]) -> None:
    """Wait until some rows are charged, then kill -9 the worker that is buying, whole."""
    while run.poll() is None:
        if int(str(ledger(base_url)["charges"])) >= 6:
            with connect(load_settings()) as session:
                worker = session.pids[SUBMIT]
            children = subprocess.run(
                ["pgrep", "-P", str(worker)], capture_output=True, text=True, check=True
            )
            KILLED.extend([worker, *map(int, children.stdout.split())])
            for pid in KILLED:
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def judge(base_url: str) -> int:
    """Print the ledger's verdict; 0 when nothing is missing and nothing was paid twice."""
    found = ledger(base_url)
    print(f"in the middle the buying worker was killed: kill -9 {' '.join(map(str, KILLED))}")
    rows = sum(1 for _ in (HERE / "demo.csv").open(encoding="utf-8")) - 1
    print(f"rows {rows} · charges {found['charges']} · paid twice {found['charged_twice']}")
    return 0 if found["charges"] == rows and found["charged_twice"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
