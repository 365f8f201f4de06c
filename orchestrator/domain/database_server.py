"""Whether a PostgreSQL server can be worked with, and whether it is safe for money.

The floor is PostgreSQL 14. What our statements need is 11 (`hashtextextended`, triggers with
transition tables), but nothing older than 14 is looked after by its makers any more, and none is
tested here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.domain.findings import Finding, bad, ok, warning

OLDEST = 140000
"""As `server_version_num` counts: 14.0."""
DATABASE = "database"
_STAYS = "Running workers go on by themselves."


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """What the server says of itself, asked as the role that works with it."""

    version: int
    read_only: bool
    in_recovery: bool
    role: str
    database: str
    schema: str | None
    """Where new tables go; None where the search path leads nowhere."""
    may_create: bool
    missing_rights: tuple[str, ...]
    """Tables and sequences that exist and that the role may not read and write."""
    encoding: str
    synchronous_commit: str
    fsync: bool
    full_page_writes: bool
    max_connections: int
    reserved_connections: int
    encrypted: bool
    local: bool
    """Reached over a socket or a loopback address."""
    standbys: tuple[str, ...] | None
    """How each standby follows (`sync`, `quorum`, `potential`, `async`); None where hidden."""


def version_name(version: int) -> str:
    return f"{version // 10000}.{version % 10000}"


def fit_to_work(server: DatabaseServer, *, creates: bool) -> Iterator[Finding]:
    """What keeps us from working with it at all; `creates`: tables are to be made or changed."""
    if server.version < OLDEST:
        yield bad(
            DATABASE,
            f"PostgreSQL {version_name(server.version)} is too old; {OLDEST // 10000} is the "
            "oldest that will do",
            "Upgrade the server, or let ORCHESTRATOR_DATABASE_URL name a newer one.",
            code="database_too_old",
        )
        return
    if server.in_recovery or server.read_only:
        why = "it is a standby" if server.in_recovery else "default_transaction_read_only is on"
        yield bad(
            DATABASE,
            f"the database {server.database} is read-only: {why}",
            "After a failover, let ORCHESTRATOR_DATABASE_URL name the server that is the primary "
            "now, or all of them (host1,host2); otherwise set default_transaction_read_only to "
            f"off. {_STAYS}",
            code="database_read_only",
        )
    if server.encoding != "UTF8":
        yield bad(
            DATABASE,
            f"the database {server.database} has the encoding {server.encoding}, which cannot "
            "hold every prompt",
            "Make one with UTF8: createdb --encoding UTF8 --template template0.",
        )
    yield from _rights(server, creates=creates)


def _rights(server: DatabaseServer, *, creates: bool) -> Iterator[Finding]:
    role, schema = server.role, server.schema
    if creates and schema is None:
        yield bad(
            DATABASE,
            f"the search path of {role} leads to no schema of the database {server.database}",
            f"CREATE SCHEMA {role} AUTHORIZATION {role}; or ALTER ROLE {role} SET search_path.",
            code="database_rights",
        )
    elif creates and not server.may_create:
        yield bad(
            DATABASE,
            f"the role {role} may not create tables in the schema {schema} of the database "
            f"{server.database}",
            f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {role}; (since PostgreSQL 15 nobody has "
            "it on public unasked), or upgrade with a role that may.",
            code="database_rights",
        )
    if server.missing_rights:
        names = ", ".join(server.missing_rights[:5])
        more = len(server.missing_rights) - 5
        yield bad(
            DATABASE,
            f"the role {role} may not read and write {names}"
            + (f" and {more} other tables" if more > 0 else ""),
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "
            f"{schema or 'public'} TO {role}; and USAGE ON ALL SEQUENCES.",
            code="database_rights",
        )


def safety(server: DatabaseServer, *, wanted_connections: int) -> Iterator[Finding]:
    """What a crash or a failover could cost. `wanted_connections`: what the fleet may open."""
    yield _commits(server)
    if not server.full_page_writes:
        yield warning(
            "pages",
            "full_page_writes is off: a torn page after a crash damages tables, unless the file "
            "system writes pages whole",
            "ALTER SYSTEM SET full_page_writes = on, and reload.",
        )
    yield _standbys(server)
    room = server.max_connections - server.reserved_connections
    if wanted_connections > room:
        yield warning(
            "connections",
            f"the workers may open {wanted_connections} connections, the server takes {room}",
            "Lower ORCHESTRATOR_DATABASE_CONNECTIONS, raise max_connections, or put a pooler "
            "between them.",
        )
    else:
        yield ok("connections", f"the workers may open {wanted_connections} of {room}")
    if not (server.encrypted or server.local):
        yield warning(
            "database link",
            "prompts travel to the database unencrypted",
            "Add sslmode=verify-full to ORCHESTRATOR_DATABASE_URL.",
        )


def _commits(server: DatabaseServer) -> Finding:
    if not server.fsync:
        return bad(
            "commits",
            "fsync is off: a crash of the server's machine can lose or damage everything",
            "ALTER SYSTEM SET fsync = on, and reload.",
        )
    if server.synchronous_commit == "off":
        return bad(
            "commits",
            "synchronous_commit is off: a crash loses the last purchases and holds, which only "
            "the journals would still know",
            "ALTER SYSTEM SET synchronous_commit = on, and reload; or ALTER ROLE "
            f"{server.role} SET synchronous_commit = on.",
        )
    how = f"synchronous_commit is {server.synchronous_commit}"
    return ok("commits", f"on disk before they count ({how})")


def _standbys(server: DatabaseServer) -> Finding:
    if server.standbys is None:
        return warning(
            "standbys",
            f"whether there are standbys, and how they follow, is hidden from {server.role}",
            f"GRANT pg_monitor TO {server.role};",
        )
    behind = server.standbys.count("async")
    if not server.standbys:
        return ok("standbys", "none follows now")
    if behind == len(server.standbys) or server.synchronous_commit == "local":
        return warning(
            "standbys",
            f"{behind or len(server.standbys)} of {len(server.standbys)} standbys follow "
            "asynchronously: after a failover the last commits may be missing, which stops sending "
            "until the journals are merged",
            "Set synchronous_standby_names (ANY 1 (*)), with synchronous_commit on.",
        )
    return ok("standbys", f"{len(server.standbys)}, {behind} of them asynchronous")
