"""Copies of the broker's own messages, at once and much later, and a worker that sleeps in a POST.

Real processes throughout; the sandbox's ledger is the judge.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.journal import Outcome, OutcomeKind, read
from tests.support.ageing import end_leases
from tests.support.installation import Installation, until
from tests.support.processes import BUYER, processes_of
from tests.support.repeating import Repeater, broker_of, everything_thrice, rows_of
from tests.support.sandbox import Sandbox, sandbox


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("provider")
    with sandbox(folder, "--queue", "0.1", "--median", "0.3") as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, provider: Sandbox) -> Iterator[Installation]:
    """Its processes run from the first test to the last; each `run` joins them."""
    quick = {"ORCHESTRATOR_REQUEST_TIMEOUT": "10s", "ORCHESTRATOR_FLOWER_PORT": "0"}
    made = Installation(tmp_path_factory.mktemp("here"), provider.base_url, quick)
    up = made.start("up", "--no-flower", "--json")
    try:
        assert up.stdout is not None
        assert any(line.startswith("{") for line in up.stdout)
        yield made
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=60)


def every_video_was_bought_once(
    here: Installation, provider: Sandbox, batch: str, before: int, rows: int
) -> None:
    assert provider.charges == before + rows
    assert provider.ledger()["charged_twice"] == 0
    results = here.results(batch)
    assert [row["state"] for row in results] == ["succeeded"] * rows
    cost = here.status(batch)["cost"]
    assert isinstance(cost, dict)
    assert cost["held"] == "0"


def test_every_message_thrice_and_all_of_them_much_later(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "error_502_after_commit", "count": 4})
    with broker_of(here.folder) as server:
        repeater = Repeater(server)
        with everything_thrice(repeater):
            done = here.call("run", here.prompts("thrice.csv", 60))
        assert done.returncode == 0, done.stdout
        every_video_was_bought_once(here, provider, "thrice", before, 60)
        bought = repeater.of("workers.submit_chunk")
        polled = repeater.of("workers.poll_chunk")
        rows = {row for message in bought for row in rows_of(message)}
        assert len(rows) == 60, "every row's message was copied"
        assert polled, "messages of polls too"

        provider.faults()
        posts = provider.ledger()["posts"]
        for message in reversed([*bought, *polled]):
            repeater.send(message)
        until(lambda: repeater.idle)
    assert provider.ledger()["posts"] == posts
    every_video_was_bought_once(here, provider, "thrice", before, 60)


def test_a_worker_asleep_in_its_posts_is_replaced_and_wakes_to_nothing(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "hang_after_commit", "count": 6, "seconds": 60})
    run = here.start("run", here.prompts("asleep.csv", 12))
    until(lambda: provider.charges == before + 12)
    with asleep(the_buyer(here), here):
        provider.faults()
        end_leases(database_of(here))
        said, _ = run.communicate(timeout=150)
        assert run.returncode == 0, said
        every_video_was_bought_once(here, provider, "asleep", before, 12)
        settled = here.results("asleep")
        known = len(lost_in_the_journal(here))
    until(lambda: len(lost_in_the_journal(here)) == known + 6)
    assert here.results("asleep") == settled, "what it knew by then was fenced off"
    every_video_was_bought_once(here, provider, "asleep", before, 12)


def database_of(here: Installation) -> str:
    return f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}"


def the_buyer(here: Installation) -> int:
    """The pool process that holds leases of unanswered submissions."""
    with sqlite3.connect(here.folder / "data" / "orchestrator.db") as database:
        query = "SELECT DISTINCT lease_owner FROM submissions WHERE state = 'submitting'"
        ((owner,),) = database.execute(query).fetchall()
    database.close()
    lock = here.folder / "data" / "processes" / f"{owner}.lock"
    for pid in processes_of(here.folder, BUYER):
        if any(opened(link) == lock for link in Path(f"/proc/{pid}/fd").iterdir()):
            return pid
    raise AssertionError("nobody holds the lock")


def opened(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:
        return None


@contextmanager
def asleep(pid: int, here: Installation) -> Iterator[None]:
    """Stopped between two of its transactions: one that sleeps inside keeps SQLite's only lock."""
    try:
        until(lambda: stopped_without_the_lock(pid, here))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stopped_without_the_lock(pid: int, here: Installation) -> bool:
    os.kill(pid, signal.SIGSTOP)
    with closing(sqlite3.connect(here.folder / "data" / "orchestrator.db", timeout=1)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
    return True


def lost_in_the_journal(here: Installation) -> list[Outcome]:
    """Answers that never came, as whoever waited for them wrote them down."""
    return [
        record
        for record in read(here.folder / "journal")
        if isinstance(record, Outcome) and record.kind is OutcomeKind.AMBIGUOUS and record.claim
    ]
