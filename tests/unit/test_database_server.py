"""What is said of a PostgreSQL server, by what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.database_server import DatabaseServer, fit_to_work, safety
from orchestrator.domain.findings import Level, refuse_bad
from orchestrator.errors import ConfigError

GOOD = DatabaseServer(
    version=160004,
    read_only=False,
    in_recovery=False,
    role="worker",
    database="videos",
    schema="public",
    may_create=False,
    missing_rights=(),
    encoding="UTF8",
    synchronous_commit="on",
    fsync=True,
    full_page_writes=True,
    max_connections=100,
    reserved_connections=3,
    encrypted=True,
    local=False,
    standbys=(),
)


def levels(server: DatabaseServer, wanted: int = 10) -> dict[str, Level]:
    return {one.check: one.level for one in safety(server, wanted_connections=wanted)}


@pytest.mark.parametrize(
    ("version", "fits"),
    [(90624, False), (130022, False), (139999, False), (140000, True), (180006, True)],
)
def test_versions(version: int, fits: bool) -> None:
    found = [one.code for one in fit_to_work(replace(GOOD, version=version), creates=False)]
    assert found == ([] if fits else ["database_too_old"])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"read_only": True}, "database_read_only", "default_transaction_read_only is on"),
        ({"read_only": True, "in_recovery": True}, "database_read_only", "it is a standby"),
        ({"encoding": "SQL_ASCII"}, "config", "SQL_ASCII"),
        ({"missing_rights": ("items", "batches")}, "database_rights", "items, batches"),
        ({"missing_rights": tuple("abcdefg")}, "database_rights", "and 2 other tables"),
    ],
)
def test_what_keeps_us_from_working(change: dict[str, object], code: str, words: str) -> None:
    (found,) = fit_to_work(replace(GOOD, **change), creates=False)
    assert (found.level, found.code) == (Level.BAD, code)
    assert words in found.found
    assert found.mend
    with pytest.raises(ConfigError) as refused:
        refuse_bad([found])
    assert (refused.value.exit_code, refused.value.code) == (3, code)


def test_who_only_works_need_not_create_tables() -> None:
    assert list(fit_to_work(GOOD, creates=False)) == []
    (found,) = fit_to_work(GOOD, creates=True)
    assert "may not create tables in the schema public" in found.found
    assert "GRANT CREATE" in str(found.mend)
    (nowhere,) = fit_to_work(replace(GOOD, schema=None), creates=True)
    assert "no schema" in nowhere.found


def test_a_safe_server_is_safe() -> None:
    assert set(levels(GOOD).values()) == {Level.OK}


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"fsync": False}, "commits", Level.BAD),
        ({"synchronous_commit": "off"}, "commits", Level.BAD),
        ({"full_page_writes": False}, "pages", Level.WARNING),
        ({"standbys": ("async",)}, "standbys", Level.WARNING),
        ({"standbys": ("sync", "async")}, "standbys", Level.OK),
        ({"standbys": ("quorum",), "synchronous_commit": "local"}, "standbys", Level.WARNING),
        ({"standbys": None}, "standbys", Level.WARNING),
        ({"max_connections": 12}, "connections", Level.WARNING),
        ({"encrypted": False}, "database link", Level.WARNING),
    ],
)
def test_what_a_crash_could_cost(change: dict[str, object], check: str, level: Level) -> None:
    found = levels(replace(GOOD, **change))
    assert found.pop(check) is level
    assert set(found.values()) <= {Level.OK}


def test_what_stays_on_the_machine_needs_no_encryption() -> None:
    assert "database link" not in levels(replace(GOOD, encrypted=False, local=True))
