"""Several dispatch at once, as each worker process does: no row is handed out twice."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sqlalchemy import event, text

from orchestrator.services import dispatch
from orchestrator.services.context import Timing
from orchestrator.store import workers
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server
from tests.support.shop import Shop, accept

_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def await_a_wait(store: Store) -> None:
    while True:
        with store.engine.connect() as conn:
            if conn.execute(_WAITING).scalar_one():
                return
        time.sleep(0.01)


def test_who_comes_second_hands_out_what_the_first_left(tmp_path: Path) -> None:
    with postgres_server() as server, ThreadPoolExecutor() as threads:
        url = migrated_on(server)
        shop = Shop(tmp_path, "", accept, url=url)
        other = Store(url)
        shop.submit(30)
        with shop.store.write() as tx:
            workers.seen(tx, "w", processes=2, submits=True)
        timing = Timing(request=2_000, chunk_size=5)
        context = replace(shop.context, timing=timing)
        chunks: list[Chunk] = []
        commits, go = threading.Event(), threading.Event()

        @event.listens_for(shop.store.engine, "commit")
        def _pause(_conn: object) -> None:
            commits.set()
            go.wait()

        first = threads.submit(dispatch.run_once, context, chunks.append)
        commits.wait()
        second = threads.submit(dispatch.run_once, replace(context, store=other), chunks.append)
        await_a_wait(other)
        go.set()
        assert (first.result(), second.result()) == (4, 0)
        taken = [item for chunk in chunks for item in chunk.item_ids]
        assert len(taken) == len(set(taken)) == 20
        other.close()
        shop.store.close()
