"""What a PostgreSQL server says of itself, and whether that will do."""

from __future__ import annotations

import time

from sqlalchemy import text

from orchestrator.domain import clocks, database_server
from orchestrator.domain.clocks import Skew
from orchestrator.domain.database_server import DatabaseServer
from orchestrator.domain.findings import Finding, refuse_bad
from orchestrator.store.engine import Store, Tx
from orchestrator.store.tables import METADATA

_ABOUT = text("""
SELECT current_setting('server_version_num')::int AS version,
       current_setting('transaction_read_only')::bool AS read_only,
       pg_is_in_recovery() AS in_recovery,
       current_user::text AS role,
       current_database()::text AS database,
       current_schema()::text AS schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       current_setting('server_encoding') AS encoding,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync')::bool AS fsync,
       current_setting('full_page_writes')::bool AS full_page_writes,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true), '0')::int
         AS reserved_connections,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8'
         OR inet_server_addr() = '::1' AS local
""")
_STANDBYS = text("SELECT sync_state FROM pg_stat_replication")
_DENIED = text("""
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(current_schema())
   AND (c.relkind = 'r' AND c.relname = ANY(:names)
        AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
             AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
     OR c.relkind = 'S' AND c.relname = ANY(:sequences)
        AND NOT has_sequence_privilege(c.oid, 'USAGE'))
 ORDER BY c.relkind DESC, c.relname
""")


def about(tx: Tx) -> DatabaseServer | None:
    """None for SQLite, which is a file and no server."""
    if not tx.locks_rows:
        return None
    said = dict(tx.conn.execute(_ABOUT).mappings().one())
    names = [table.name for table in METADATA.sorted_tables]
    named = {"names": names, "sequences": [f"{name}_id_seq" for name in names]}
    denied = tuple(tx.conn.execute(_DENIED, named).scalars())
    return DatabaseServer(**said, missing_rights=denied, standbys=_standbys(tx))


def _standbys(tx: Tx) -> tuple[str, ...] | None:
    """Without the right to look, PostgreSQL shows rows whose columns are empty."""
    found = tuple(tx.conn.execute(_STANDBYS).scalars())
    return None if None in found else found


def check(store: Store, *, creates: bool = False) -> list[Finding]:
    """Raises ConfigError where the server cannot be worked with, ServiceError where it is away."""
    if store.is_sqlite:
        return []
    with store.read() as tx:
        said = about(tx)
    return refuse_bad(database_server.fit_to_work(said, creates=creates)) if said else []


def skew(store: Store) -> Skew | None:
    """How far this machine's clock is from the database's; None where they are the same."""
    if store.is_sqlite:
        return None
    with store.read():
        """A connection is there now: what follows is one round trip."""
    before = time.time_ns()
    with store.read() as tx:
        return clocks.measured(before // 1_000_000, tx.now, time.time_ns() // 1_000_000)
