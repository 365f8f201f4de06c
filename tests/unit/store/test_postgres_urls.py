"""How a PostgreSQL URL is spelled, and what is added to it."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from orchestrator.errors import ConfigError
from orchestrator.store import postgres
from orchestrator.store.engine import Store, safe_url


def arguments(url: str) -> dict[str, object]:
    """What libpq is given in the end."""
    _, told = PGDialect_psycopg().create_connect_args(make_url(postgres.spelled(url)))
    return {**told, **postgres.connect_args(url, "me")}


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_several_hosts_as_libpq_writes_them(scheme: str) -> None:
    told = arguments(f"{scheme}://u:p%40ss@db1:5433,db2,[::1]:5435/videos?sslmode=require")
    assert (told["host"], told["port"]) == ("db1,db2,::1", "5433,5432,5435")
    assert (told["user"], told["password"], told["dbname"]) == ("u", "p@ss", "videos")
    assert told["sslmode"] == "require"
    assert told["target_session_attrs"] == "read-write"


def test_what_the_url_says_wins() -> None:
    told = arguments("postgresql://a,b/x?target_session_attrs=any&connect_timeout=2")
    assert (told["target_session_attrs"], told["connect_timeout"]) == ("any", "2")


def test_one_host_takes_what_it_is_given() -> None:
    told = arguments("postgresql://u:p@db/videos")
    assert "target_session_attrs" not in told
    assert (told["host"], told["application_name"], told["keepalives"]) == ("db", "me", 1)


def test_a_password_with_odd_letters_stays_whole() -> None:
    assert arguments("postgresql://u:p#?w@db/videos")["password"] == "p#?w"


def test_a_long_name_is_cut_to_what_the_server_takes() -> None:
    told = postgres.connect_args("postgresql://db/x", "é" * 50)
    assert told["application_name"] == "é" * 31


def test_a_port_that_is_none() -> None:
    with pytest.raises(ConfigError, match="ORCHESTRATOR_DATABASE_URL"):
        Store("postgresql://a:x,b:5432/videos")


def test_the_password_is_not_shown() -> None:
    assert safe_url("postgresql://u:secret@a:1,b:2/x") == "postgresql://u:***@a:1,b:2/x"
