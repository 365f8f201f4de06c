"""Servers that will not do: each command and each worker says what, where and the mend, code 3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import schema
from orchestrator.store.engine import Store
from tests.support.installation import Installation
from tests.support.postgres import as_role, fresh_database, postgres_server, statement
from tests.support.valkey import Valkey, short_directory, valkey_server

UNREACHABLE = "http://127.0.0.1:9/api/v1"
WORKER = ("worker", "--queues=submit", "--concurrency=1", "--hostname=w@%h")
RIGHTS = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        statement(
            url,
            "CREATE ROLE plain LOGIN",
            "CREATE ROLE reader LOGIN SUPERUSER",
            "ALTER ROLE reader SET default_transaction_read_only = on",
            "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
        )
        yield url


@pytest.fixture(scope="module")
def database(server: str) -> str:
    url = fresh_database(server)
    store = Store(url)
    schema.upgrade(store)
    store.close()
    return url


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with short_directory() as place, valkey_server(place) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, UNREACHABLE)
    made.prompts("my.csv", 2)
    return made


def refused(here: Installation, *arguments: str) -> str:
    done = here.call(*arguments)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def worker(here: Installation) -> subprocess.CompletedProcess[str]:
    """A worker as a service manager would start it; it is not expected to stay."""
    return subprocess.run(
        [sys.executable, "-m", "workers.run_celery", *WORKER],
        cwd=here.folder,
        env=here.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_role_that_may_not_create_tables(here: Installation, server: str) -> None:
    empty = fresh_database(server)
    here.extra["ORCHESTRATOR_DATABASE_URL"] = as_role(empty, "plain")
    said = refused(here, "db", "upgrade")
    assert "the role plain may not create tables in the schema public" in said
    assert "GRANT CREATE, USAGE ON SCHEMA public TO plain" in said
    statement(empty, "GRANT CREATE, USAGE ON SCHEMA public TO plain")
    assert here.call("db", "upgrade").returncode == 0
    assert here.call("submit", "my.csv").returncode == 0


def test_a_role_that_may_not_write_and_then_may(here: Installation, database: str) -> None:
    here.extra["ORCHESTRATOR_DATABASE_URL"] = as_role(database, "plain")
    statement(database, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain")
    for arguments in (["submit", "my.csv"], ["doctor"]):
        said = refused(here, *arguments)
        assert "the role plain may not read and write accounts, batches" in said
        assert "GRANT SELECT, INSERT, UPDATE, DELETE" in said
    statement(database, f"GRANT {RIGHTS} TO plain")
    assert "may not read and write batches_id_seq" in refused(here, "submit", "my.csv")
    statement(database, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO plain")
    assert here.call("db", "upgrade").returncode == 0, "there is nothing to create"
    done = here.call("submit", "my.csv", "--name", "granted")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["submit", "run", "up", "doctor", "db", "worker"])
def test_a_database_that_takes_no_writes(here: Installation, database: str, command: str) -> None:
    target = database if command != "db" else fresh_database(database)
    here.extra["ORCHESTRATOR_DATABASE_URL"] = as_role(target, "reader")
    if command == "worker":
        done = worker(here)
        assert done.returncode == 3
        said = done.stderr
        assert "Traceback" not in said
    else:
        rest = {"submit": ["my.csv"], "run": ["my.csv"], "db": ["upgrade"]}.get(command, [])
        said = refused(here, command, *rest)
    assert "read-only: default_transaction_read_only is on" in said


def test_looking_needs_no_writes(here: Installation, database: str) -> None:
    here.extra["ORCHESTRATOR_DATABASE_URL"] = as_role(database, "reader")
    assert here.call("batches").returncode == 0


@pytest.mark.parametrize("command", [["submit", "my.csv"], ["up"], ["doctor"], ["db", "upgrade"]])
def test_a_database_without_a_connection_left(
    here: Installation, database: str, command: list[str]
) -> None:
    here.extra["ORCHESTRATOR_DATABASE_URL"] = as_role(database, "crowded")
    said = refused(here, *command)
    assert "no connection left" in said
    assert "ORCHESTRATOR_DATABASE_CONNECTIONS" in said


def test_a_broker_that_evicts_is_refused_by_name(here: Installation, valkey: Valkey) -> None:
    here.extra["ORCHESTRATOR_BROKER_URL"] = valkey.broker_url
    valkey.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        for arguments in (["run", "my.csv"], ["up"], ["doctor"]):
            assert "maxmemory-policy allkeys-lru" in refused(here, *arguments)
        assert here.call("batches", "--json").stdout.strip() == "[]"
        assert here.call("submit", "my.csv").returncode == 0, "recording needs no broker"
        done = worker(here)
        assert (done.returncode, "allkeys-lru" in done.stderr) == (3, True)
        assert "Traceback" not in done.stderr
    finally:
        valkey.tell("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_a_broker_that_keeps_nothing_is_told_of(here: Installation, valkey: Valkey) -> None:
    here.extra["ORCHESTRATOR_BROKER_URL"] = valkey.broker_url
    assert here.call("submit", "my.csv").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.run_celery", *WORKER],
        cwd=here.folder,
        env=here.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        told = next(line for line in process.stderr if line.startswith("warning: "))
        assert "the broker keeps nothing on disk" in told
        assert "CONFIG SET appendonly yes" in process.stderr.readline()
    finally:
        process.terminate()
        process.communicate(timeout=60)
