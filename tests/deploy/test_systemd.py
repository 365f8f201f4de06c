"""deploy/systemd: systemd itself takes the units, and finds little to reproach them with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.composed import ROOT

UNITS = ROOT / "deploy" / "systemd"
NAMES = [
    *(f"orchestrator-{name}.service" for name in ("beat", "flower", "metrics", "migrate")),
    *(f"orchestrator-worker@{queue}.service" for queue in ("submit", "poll")),
]
SYSTEMS_OWN = ("basic", "multi-user", "network-online", "shutdown", "sysinit")
LISTS = {"Environment", "EnvironmentFile", "LoadCredential"}

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root directory with the units and the programs that they start."""
    folder = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(UNITS, folder)
    for name in SYSTEMS_OWN:
        (folder / f"{name}.target").write_text("[Unit]\n")
    for name in ("celery", "orchestrator"):
        program = tmp_path / "opt" / "orchestrator" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def analyze(machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", f"--root={machine}", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_they_are_units_that_start_programs_that_are_there(machine: Path) -> None:
    done = analyze(machine, "verify", *NAMES, "orchestrator.target")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_they_are_locked(machine: Path, name: str) -> None:
    done = analyze(machine, "security", "--offline=yes", "--threshold=15", name)
    assert done.returncode == 0, done.stdout


def keys(path: Path) -> set[str]:
    return {line.partition("=")[0] for line in path.read_text().splitlines() if "=" in line}


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_what_holds_for_all_overrides_no_unit(unit: Path) -> None:
    """A drop-in wins: `Restart=always` there would run the migration again and again."""
    for_all = keys(UNITS / "orchestrator-.service.d" / "all.conf")
    assert not for_all & (keys(unit) - LISTS)
