"""Connecting to PostgreSQL: several hosts, time limits, a look at a connection before its use."""

from __future__ import annotations

import select
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidatePoolError

from orchestrator.store.patience import Patience

CONNECT_SECONDS = 10
RECYCLE_SECONDS = 1800
PING_AFTER_SECONDS = 30.0
"""An unused connection is asked whether it lives; before, a look at its socket is enough."""
_KEPT_ALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # A server that vanished without a word: what was sent to it is given up after this.
    "tcp_user_timeout": 30_000,
}
_ELSEWHERE = frozenset({"25006", "57P01", "57P02", "57P03"})
"""Read-only, or going down: after a failover the server that is wanted is another one."""
_APPLICATION_BYTES = 63
_STANDS = """
CASE WHEN pg_is_in_recovery() THEN NULL
  ELSE CAST(pg_current_wal_flush_lsn() - '0/0' AS bigint) END,
CASE WHEN pg_is_in_recovery() THEN NULL
  ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END
"""


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgresql+psycopg://"))


def make_engine(url: str, *, application: str, connections: int) -> Engine:
    """A pool of at most `connections`, looked at before each use."""
    kept = min(2, connections)
    engine = create_engine(
        spelled(url),
        connect_args=connect_args(url, application),
        pool_size=kept,
        max_overflow=connections - kept,
        pool_timeout=CONNECT_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        # The last one used is taken first, so that what is not needed is closed.
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "checkin")
    def put_back(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _proxy: Any) -> None:
        idle = time.monotonic() - record.info.get("idle_since", time.monotonic())
        if idle <= PING_AFTER_SECONDS and _is_quiet(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "handle_error", _look_elsewhere)
    return engine


def _is_quiet(connection: Any) -> bool:
    """Nothing came on an idle connection; a server that ended it has said so, or closed it."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _look_elsewhere(context: ExceptionContext) -> None:
    """Let the next connection be a new one, to whichever host is the right one by then."""
    if getattr(context.original_exception, "sqlstate", None) in _ELSEWHERE:
        context.is_disconnect = True


def connect_args(url: str, application: str) -> dict[str, object]:
    """What the URL does not say itself."""
    parts = urlsplit(url)
    said = parse_qs(parts.query)
    wanted: dict[str, object] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": application.encode()[:_APPLICATION_BYTES].decode(errors="ignore"),
        **(_KEPT_ALIVE if sys.platform == "linux" else {}),
    }
    if "," in parts.netloc.rpartition("@")[2] or "," in said.get("host", [""])[0]:
        wanted["target_session_attrs"] = "read-write"
    return {name: value for name, value in wanted.items() if name not in said}


def spelled(url: str) -> str:
    """As SQLAlchemy wants it; several hosts as libpq writes them (`h1:5432,h2:5432`) are taken.

    Raises ValueError for a port that is no number.
    """
    rest = url.partition("://")[2]
    parts = urlsplit(url)
    login, at, places = parts.netloc.rpartition("@")
    if "," in places:
        split = [_host_and_port(place) for place in places.split(",")]
        hosts = ",".join(host for host, _ in split)
        ports = ",".join(port or "5432" for _, port in split)
        query = "&".join(part for part in (f"host={hosts}&port={ports}", parts.query) if part)
        rest = f"{login}{at}{parts.path}?{query}"
    return f"postgresql+psycopg://{rest}"


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    if port and not port.isdigit():
        raise ValueError(f"the port {port!r} is no number")
    return host, port


def opening(patience: Patience) -> str:
    """The first statement of a transaction: its limits, and the database's time in it.

    Also where the server stands: the end of its log and its timeline, null while it recovers.
    """
    limits = {
        "statement_timeout": patience.statement,
        "lock_timeout": patience.lock,
        "idle_in_transaction_session_timeout": patience.idle,
    }
    told = ", ".join(f"set_config('{name}', '{value}s', true)" for name, value in limits.items())
    return f"SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), {_STANDS}, {told}"
