"""What deploy/ says to the program is what the program listens to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.env_file import strangers
from orchestrator.settings import Settings
from tests.support.composed import ROOT

DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "secrets/" not in str(path))
SCRIPTS = [path for path in FILES if path.read_bytes().startswith(b"#!/bin/sh")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_is_a_setting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"\b(?:ORCHESTRATOR|MINDVIDEO)_[A-Z_]*[A-Z]\b", text)
    known = [str(field.validation_alias) for field in Settings.model_fields.values()]
    assert strangers(named, known) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_scripts(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111


def test_secrets_that_are_there_stay_and_nobody_else_may_look(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make = ["sh", str(DEPLOY / "compose" / "make-secrets"), "--sandbox", str(folder)]
    subprocess.run(make, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o077 == 0
    assert made["postgres_password"].strip() in made["database_url"]
    (folder / "flower_basic_auth").unlink()
    subprocess.run(make, check=True, capture_output=True)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert again.pop("flower_basic_auth") != made.pop("flower_basic_auth")
    assert again == made
