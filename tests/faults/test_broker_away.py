"""The broker, which holds the request rate, ends under running workers and comes back later."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.installation import Installation, until
from tests.support.sandbox import sandbox
from tests.support.valkey import short_directory, valkey_server

ROWS = 40


def seen(here: Installation) -> int:
    """When a process that buys last gave a sign of life, by the database's clock."""
    with sqlite3.connect(here.folder / "data" / "orchestrator.db") as database:
        return int(database.execute("SELECT max(seen_at) FROM workers WHERE submits").fetchone()[0])


def submitting(here: Installation) -> int:
    counts: dict[str, int] = here.status("away")["counts"]  # type: ignore[assignment]
    return counts["submitting"]


def test_nothing_is_sent_while_it_is_away_and_then_it_goes_on_by_itself(tmp_path: Path) -> None:
    quick = ("--queue", "0.1", "--median", "0.3")
    with short_directory() as place, sandbox(tmp_path / "provider", *quick) as provider:
        slow = {"ORCHESTRATOR_REQUESTS_PER_SECOND": "10", "ORCHESTRATOR_REQUEST_TIMEOUT": "3s"}
        here = Installation(tmp_path, provider.base_url, slow)
        with valkey_server(place, persistent=True) as server:
            here.extra["ORCHESTRATOR_BROKER_URL"] = server.broker_url
            run = here.start("run", here.prompts("away.csv", ROWS))
            until(lambda: provider.charges >= 5)
            server.kill()
            # Whoever waited for a turn gives it up, and what was on its way is recorded.
            until(lambda: submitting(here) == 0)
            asked = provider.ledger()
            last = seen(here)
            until(lambda: seen(here) > last)
            assert provider.ledger() == asked, "the processes are there, and ask for nothing"
            assert provider.charges < ROWS
        with valkey_server(place, persistent=True):
            said, _ = run.communicate(timeout=150)
        assert run.returncode == 0, said
        assert provider.charges == ROWS
        assert provider.ledger()["charged_twice"] == 0
        assert [row["state"] for row in here.results("away")] == ["succeeded"] * ROWS
