"""What a database's own errors mean for a person: a sentence, the mend, and a code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.errors import ServiceError

CODE = "database"
"""Every code of an error that comes from the database begins so."""


@dataclass(frozen=True, slots=True)
class Known:
    """How to tell a failure, by PostgreSQL's code or by its words, and what to say of it.

    What fails while connecting comes without a code.
    """

    code: str
    states: frozenset[str]
    words: tuple[str, ...]
    sentence: str
    mend: str


KNOWN = (
    Known(
        "database_read_only",
        frozenset({"25006"}),
        ("session is read-only", "read-only transaction", "readonly database"),
        "the database takes no writes: it is read-only",
        "After a failover, let ORCHESTRATOR_DATABASE_URL name the server that is the primary now, "
        "or all of them (host1,host2) with target_session_attrs=read-write; on the server, "
        "default_transaction_read_only must be off. Running workers go on by themselves.",
    ),
    Known(
        "database_connections",
        frozenset({"53300"}),
        ("too many clients", "remaining connection slots", "too many connections for"),
        "the database has no connection left",
        "Lower ORCHESTRATOR_DATABASE_CONNECTIONS or the number of worker processes, or raise "
        "max_connections on the server. Running workers go on by themselves.",
    ),
    Known(
        "database_rights",
        frozenset({"42501"}),
        (),
        "the database denies the right to do this",
        "Grant it to the role of ORCHESTRATOR_DATABASE_URL; `orchestrator doctor` names what is "
        "missing.",
    ),
    Known(
        "database_slow",
        frozenset({"57014", "55P03", "25P03", "25P04"}),
        ("canceling statement due to", "database is locked"),
        "the database took longer than it may, or was kept waiting",
        "Look for what else keeps it busy or holds locks (pg_stat_activity), then the same command "
        "again. Running workers go on by themselves.",
    ),
    Known(
        "database_login",
        frozenset({"28P01", "28000", "3D000"}),
        ("authentication failed", "does not exist", "pg_hba.conf"),
        "the database does not let us in",
        "Check user, password and database name in ORCHESTRATOR_DATABASE_URL, and that the "
        "database was created.",
    ),
)


def explain(text: str, sqlstate: str | None) -> ServiceError:
    """The error that says it. Nothing of the URL's credentials is in the driver's own text."""
    reason = next((line.strip() for line in text.splitlines() if line.strip()), "no answer")
    for known in KNOWN:
        worded = sqlstate is None and any(words in text for words in known.words)
        if sqlstate in known.states or worded:
            return ServiceError(f"{known.sentence}: {reason}", mend=known.mend, code=known.code)
    return ServiceError(
        f"the database did not take part: {reason}",
        mend="Check ORCHESTRATOR_DATABASE_URL, the disk and the server; "
        "`orchestrator db upgrade` makes missing tables; then the same command again.",
        code=CODE,
    )


@contextmanager
def mapped() -> Iterator[None]:
    """The driver's errors as ours."""
    try:
        yield
    except DBAPIError as error:
        raise explain(str(error.orig), getattr(error.orig, "sqlstate", None)) from error
    except PoolTimeout as error:
        raise ServiceError(
            "all of this process's connections to the database are in use",
            mend="Raise ORCHESTRATOR_DATABASE_CONNECTIONS, or run fewer things at once in it.",
            code="database_connections",
        ) from error
    except SQLAlchemyError as error:
        raise ServiceError(
            f"the database could not be used: {type(error).__name__}: {error}",
            mend="Run `orchestrator doctor`.",
            code=CODE,
        ) from error


def passes(error: BaseException) -> bool:
    """Whether it is the database that failed, so that the same may succeed later."""
    return isinstance(error, ServiceError) and error.code.startswith(CODE)
