"""Connections to real PostgreSQL servers that stop, start, turn read-only, and are full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.errors import ServiceError
from orchestrator.store import schema, workers
from orchestrator.store.engine import Store
from orchestrator.store.patience import Patience
from tests.support.installation import until
from tests.support.postgres import asked, fresh_database, host_of, postgres_server, statement

BRIEF = Patience(statement=1, lock=1, idle=1)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    with postgres_server() as one, postgres_server() as other:
        yield one, other


@pytest.fixture(scope="module")
def database(servers: tuple[str, str]) -> str:
    url = fresh_database(servers[0])
    store = Store(url)
    schema.upgrade(store)
    store.close()
    return url


def sign(store: Store) -> None:
    with store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)


def end_sessions(url: str) -> None:
    statement(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE starts_with(application_name, 'orchestrator')",
    )


def test_a_connection_that_was_ended_while_idle_is_replaced_unseen(database: str) -> None:
    store = Store(database)
    sign(store)
    end_sessions(database)
    sign(store)
    store.close()


def test_one_that_was_ended_in_a_transaction_fails_it_and_nothing_more(database: str) -> None:
    store = Store(database)

    def end_in_the_middle() -> None:
        with store.write() as tx:
            end_sessions(database)
            workers.seen(tx, "lost", processes=1, submits=True)

    with pytest.raises(ServiceError, match="did not take part"):
        end_in_the_middle()
    with store.read() as tx:
        assert "lost" not in workers.alive(tx)
    sign(store)
    store.close()


def test_the_server_is_told_who_connects(database: str) -> None:
    store = Store(database, application="orchestrator worker here:7")
    with store.read() as tx:
        told = tx.conn.exec_driver_sql("SHOW application_name").scalar_one()
    assert told == "orchestrator worker here:7"
    store.close()


def test_a_statement_may_take_as_long_as_its_kind_of_transaction(database: str) -> None:
    store = Store(database, patience=BRIEF)
    with pytest.raises(ServiceError) as cut, store.write() as tx:
        tx.conn.exec_driver_sql("SELECT pg_sleep(20)")
    assert cut.value.code == "database_slow"
    with store.write(Patience(statement=0, lock=1, idle=0)) as tx:
        tx.conn.exec_driver_sql("SELECT pg_sleep(1.2)")
        shown = tx.conn.exec_driver_sql("SHOW statement_timeout").scalar_one()
    assert shown == "0"
    with store.write() as tx:
        assert tx.conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == "1s"
    store.close()


def test_a_lock_is_not_waited_for_without_end(database: str) -> None:
    holder, store = Store(database), Store(database, patience=BRIEF)
    sign(holder)
    with holder.write() as tx:
        workers.seen(tx, "w", processes=2, submits=True)
        with pytest.raises(ServiceError) as cut:
            sign(store)
    assert cut.value.code == "database_slow"
    sign(store)
    holder.close()
    store.close()


def test_no_more_connections_than_told(database: str) -> None:
    store = Store(database, connections=2)
    store.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    with (
        store.read(),
        store.read(),
        pytest.raises(ServiceError, match="in use") as refused,
        store.read(),
    ):
        pass
    assert refused.value.code == "database_connections"
    store.close()


def test_whichever_host_takes_writes_is_used(servers: tuple[str, str]) -> None:
    """Two hosts, one of them read-only; then the other one."""
    one, other = servers
    store = Store(f"postgresql://postgres@/postgres?host={host_of(one)},{host_of(other)}")
    read_only(one, "on")
    assert served_by(store) == host_of(other)
    read_only(other, "on")
    read_only(one, "off")
    # The idle connection is still there, to a server that takes no writes any more.
    with pytest.raises(ServiceError) as refused, store.write() as tx:
        tx.conn.exec_driver_sql("CREATE TABLE here (id int)")
    assert refused.value.code == "database_read_only"
    assert served_by(store) == host_of(one)
    with store.write() as tx:
        tx.conn.exec_driver_sql("CREATE TABLE here (id int)")
    read_only(other, "off")
    store.close()


def read_only(url: str, value: str) -> None:
    """From now on, in sessions that are there already too."""
    setting = f"ALTER SYSTEM SET default_transaction_read_only = {value}"
    statement(url, setting, "SELECT pg_reload_conf()")
    until(lambda: asked(url, "SHOW default_transaction_read_only") == value)


def served_by(store: Store) -> str:
    with store.read() as tx:
        return str(tx.conn.exec_driver_sql("SHOW data_directory").scalar_one())
