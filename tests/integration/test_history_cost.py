"""Beside twenty times the finished rows, live work touches as many pages as before."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import history
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server
from tests.support.shop import Shop, accept
from tests.support.valkey import short_directory, valkey_server

FEW, MANY = 500, 10_000
SLACK = 60
"""Pages: an index of twenty times the rows may be one level higher."""


def test_finished_rows_make_no_operation_touch_more_pages(tmp_path: Path) -> None:
    found = []
    with postgres_server() as server, short_directory() as place, valkey_server(place) as broker:
        for number in (FEW, MANY):
            folder = tmp_path / str(number)
            folder.mkdir()
            shop = Shop(folder, str(broker.url), accept, url=migrated_on(server))
            try:
                found.append(history.measure(shop, number, rounds=2))
            finally:
                shop.store.close()
    small, large = found
    assert len(small.pages) >= 7
    grown = {
        name: (small.pages_of(name), large.pages_of(name))
        for name in small.pages
        if large.pages_of(name) > 1.3 * small.pages_of(name) + SLACK
    }
    assert grown == {}
