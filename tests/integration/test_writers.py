"""SQLite's writers: one at a time, each as soon as the one before has come to its end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.errors import ServiceError
from orchestrator.store import sqlite
from orchestrator.store.engine import Store


def test_each_waits_for_its_turn_and_none_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'writers.db'}"
    first = Store(url)
    with first.write() as tx:
        tx.conn.execute(text("CREATE TABLE counted (number INTEGER)"))
        tx.conn.execute(text("INSERT INTO counted VALUES (0)"))

    def count() -> None:
        store = Store(url)
        for _ in range(25):
            with store.write() as tx:
                number = tx.conn.execute(text("SELECT number FROM counted")).scalar_one()
                tx.conn.execute(text("UPDATE counted SET number = :n"), {"n": number + 1})
        store.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with first.read() as tx:
        assert tx.conn.execute(text("SELECT number FROM counted")).scalar_one() == 100
    first.close()


def test_who_waits_too_long_is_told_so_and_may_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path / 'writers.db'}"
    first, second = Store(url), Store(url)
    with first.write() as tx:
        tx.conn.execute(text("CREATE TABLE counted (number INTEGER)"))
        with pytest.raises(ServiceError) as told, second.write():
            pass
        assert told.value.code == "database_slow"
    with second.write() as tx:
        tx.conn.execute(text("INSERT INTO counted VALUES (1)"))
    first.close()
    second.close()
