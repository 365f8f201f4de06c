"""The wheel carries everything: installed elsewhere, it serves the sandbox and runs a batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.installation import until

ROOT = Path(__file__).parents[2]
KEY = "mv_live_wheel_0123456789abcdef"


@pytest.fixture(scope="module")
def bin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; it borrows the dependencies, not the source tree."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(place / "env")], check=True)
    python = place / "env" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # A plain path line: the .pth files over there, the editable install's among them, stay unread.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_wheel_runs_a_batch_from_another_directory(bin_dir: Path, tmp_path: Path) -> None:
    own = ("MINDVIDEO_", "ORCHESTRATOR_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env |= {"MINDVIDEO_API_KEY": KEY, "ORCHESTRATOR_JOURNAL_DIR": str(tmp_path / "journal")}
    command = str(bin_dir / "orchestrator")
    where = [str(bin_dir / "python"), "-c", "import orchestrator; print(orchestrator.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert str(ROOT / "orchestrator") not in found.stdout

    ready = tmp_path / "ready.json"
    serve = [command, "sandbox", "serve", "--port", "0", "--key", KEY, "--median", "1"]
    serve += ["--state", str(tmp_path / "sandbox.db"), "--ready-file", str(ready)]
    provider = subprocess.Popen(serve, cwd=tmp_path, env=env)
    try:
        until(ready.exists)
        env["MINDVIDEO_BASE_URL"] = json.loads(ready.read_text())["base_url"]
        (tmp_path / "away.csv").write_text("prompt\na lighthouse\na harbour\n")
        run = [command, "run", "away.csv"]
        done = subprocess.run(
            run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        last = json.loads(done.stdout.splitlines()[-1])
        assert last["counts"]["succeeded"] == 2
        assert last["cost"]["actual"] == "0.0828"
        page = [command, "results", "away", "--html", "site"]
        subprocess.run(page, cwd=tmp_path, env=env, check=True, capture_output=True)
        assert "away@default" in (tmp_path / "site" / "index.html").read_text()
    finally:
        provider.send_signal(signal.SIGTERM)
        provider.wait(10)
