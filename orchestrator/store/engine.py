"""The database connection: SQLite or PostgreSQL by URL, transactions with their clock."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from orchestrator.domain.lineage import Sighting, went_back
from orchestrator.errors import ConfigError
from orchestrator.store import postgres, sqlite
from orchestrator.store.failures import mapped
from orchestrator.store.patience import COMMAND, Patience

CONNECTIONS = 5


@dataclass(frozen=True, slots=True)
class Tx:
    """An open transaction and the database's time in it, in milliseconds."""

    conn: Connection
    now: int
    writes: bool

    @property
    def locks_rows(self) -> bool:
        """Whether FOR UPDATE means anything here; SQLite's writers are one at a time anyway."""
        return self.conn.dialect.name == "postgresql"


class Store:
    """Opens transactions. What happens in them is named in this package's other modules."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int] | None = None,
        patience: Patience = COMMAND,
        application: str = "orchestrator",
        connections: int = CONNECTIONS,
    ) -> None:
        """`patience` is for transactions that ask for no other; `application` is who the server
        is told connects, with at most so many `connections` at once."""
        self.url = url
        self._clock = clock
        self._patience = patience
        self.engine = _engine(url, application, connections)
        self._seen: Sighting | None = None
        self._answered = time.monotonic()
        self.went_back: str | None = None
        """Why what this process committed may be lost; stays until it has been put right."""
        self.alarm: Callable[[Tx], None] | None = None
        """What is committed before anything else is written to a database that went back."""
        self._alarmed = False

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self, patience: Patience | None = None) -> Iterator[Tx]:
        """A consistent view. Raises ServiceError where the database is out of reach."""
        with mapped(), self.engine.connect() as conn:
            yield Tx(conn, self._now(conn, patience), writes=False)

    @contextmanager
    def write(self, patience: Patience | None = None) -> Iterator[Tx]:
        """One transaction, committed at the end; on SQLite it is a writer from its first moment."""
        while True:
            with self._begin(patience) as tx:
                if self.went_back is None or self.alarm is None or self._alarmed:
                    yield tx
                    return
                # What is written moves the log's end on, by which the others see that it went back.
                self.alarm(tx)
            self._alarmed = True

    @contextmanager
    def _begin(self, patience: Patience | None) -> Iterator[Tx]:
        with mapped(), self.engine.connect().execution_options(writes=True) as conn, conn.begin():
            yield Tx(conn, self._now(conn, patience), writes=True)

    def _now(self, conn: Connection, patience: Patience | None) -> int:
        """The database's time, asked for together with saying how long things may take."""
        now = time.time_ns() // 1_000_000
        if conn.dialect.name == "postgresql":
            # What was known before it was asked: another thread may be told of more meanwhile.
            before = self._seen
            opened = conn.exec_driver_sql(postgres.opening(patience or self._patience)).one()
            now = int(opened[0])
            if opened[1] is not None:
                self._compare(before, Sighting(int(opened[2], 16), int(opened[1]), now))
        self._answered = time.monotonic()
        return now if self._clock is None else self._clock()

    def _compare(self, before: Sighting | None, now: Sighting) -> None:
        reason = None if before is None else went_back(before, now)
        if reason is not None:
            self.went_back = self.went_back or reason
        elif self.went_back is None:
            self._seen = now

    @property
    def last_sighting(self) -> Sighting | None:
        """Where the server stood when this process last had no reason to doubt it."""
        return self._seen

    def trust(self, sighting: Sighting | None) -> None:
        """Go on from here: what may have been lost was put right, or nothing was remembered."""
        self._seen = sighting
        self.went_back = None
        self._alarmed = False

    @property
    def silence(self) -> float:
        """Seconds since the database last answered this process."""
        return time.monotonic() - self._answered

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hear a Ctrl-C only after the block.

    A SQLite statement that is interrupted keeps its transaction, and so the write lock, for as long
    as the exception is looked at: whoever wants to tidy up would wait for itself.
    """
    waiting = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _engine(url: str, application: str, connections: int) -> Engine:
    try:
        if postgres.is_postgres(url):
            return postgres.make_engine(url, application=application, connections=connections)
        return sqlite.make_engine(url)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError(
            f"ORCHESTRATOR_DATABASE_URL does not parse: {error}",
            mend="Write it like postgresql+psycopg://user:password@host/database.",
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"PostgreSQL needs the module {error.name}, which is not installed",
            mend="Install the extra: pip install 'video-batch-orchestrator[postgres]'.",
        ) from None


def safe_url(url: str) -> str:
    """A URL without its password, for people to read."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@")


Row = Any
"""A result row; its columns are named in the statement right above its use."""
