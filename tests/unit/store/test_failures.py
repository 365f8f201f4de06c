"""What is said of a database that fails."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.store import failures


@pytest.mark.parametrize(
    ("text", "sqlstate", "code"),
    [
        ("cannot execute INSERT in a read-only transaction", "25006", "database_read_only"),
        ('connection to "a" failed: session is read-only', None, "database_read_only"),
        ("FATAL:  sorry, too many clients already", None, "database_connections"),
        ('FATAL:  too many connections for role "w"', None, "database_connections"),
        ("FATAL:  remaining connection slots are reserved", None, "database_connections"),
        ("permission denied for table items", "42501", "database_rights"),
        ("canceling statement due to statement timeout", "57014", "database_slow"),
        ("canceling statement due to lock timeout", "55P03", "database_slow"),
        ("database is locked", None, "database_slow"),
        ('FATAL:  password authentication failed for user "u"', None, "database_login"),
        ('FATAL:  database "x" does not exist', None, "database_login"),
        ('relation "items" does not exist', "42P01", "database"),
        ("server closed the connection unexpectedly", None, "database"),
        ("", None, "database"),
    ],
)
def test_codes(text: str, sqlstate: str | None, code: str) -> None:
    error = failures.explain(f"\n{text}\nmore lines", sqlstate)
    assert error.code == code
    assert error.exit_code == 3
    assert (text or "more lines") in error.message
    assert error.mend
    assert failures.passes(error)


def test_another_error_is_not_the_databases() -> None:
    assert not failures.passes(ConfigError("no", mend="yes", code="database"))
