"""What asking costs: a poll, and 100,000 tasks that nobody has to be asked about yet.

The tasks are put into the database as bought, due in an hour; then some of them become due at once.
`python -m tests.benchmarks.outstanding`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from orchestrator.domain.account import fingerprint
from tests.benchmarks import kept
from tests.benchmarks.ourselves import KEY, Ourselves, running
from tests.benchmarks.submitting import answering, counts

OUTSTANDING = 100_000
POLLED = 5_000
WATCHED_SECONDS = 20.0
_HOUR = 3_600_000


def put_aside(us: Ourselves, name: str) -> None:
    """As if all rows of a batch had been bought just now, to be asked about in an hour."""
    now = time.time_ns() // 1_000_000
    with us.store() as store, store.write() as tx:
        tx.conn.execute(
            text(
                "INSERT INTO submissions (batch_id, item_id, generation, idempotency_key, account,"
                " price_class, state, tries, conflicts, polls, unresolved, first_sent_at,"
                " accepted_at, seen_at, due_at, hold_nanos, task_id, request_id, raw_status)"
                " SELECT i.batch_id, i.id, 0, 'key_' || i.id,"
                " :account, i.price_class, 'queued', 1, 0, 0,"
                " false, :now, :now, :now, :due, 41400000, 'task_' || i.id, 'req', 'queued'"
                " FROM items i JOIN batches b ON b.id = i.batch_id WHERE b.name = :name"
            ),
            {"now": now, "due": now + _HOUR, "name": name, "account": fingerprint(KEY)},
        )
        tx.conn.execute(
            text(
                "UPDATE items SET state = 'queued', submission_id = (SELECT s.id FROM submissions s"
                " WHERE s.item_id = items.id) WHERE batch_id = (SELECT id FROM batches WHERE"
                " name = :name)"
            ),
            {"name": name},
        )


def busy(us: Ourselves, seconds: float) -> float:
    """The share of one core that our processes use, by looking for a while."""
    before = sum(us.cpu().values())
    time.sleep(seconds)
    return (sum(us.cpu().values()) - before) / seconds


def report(outstanding: int = OUTSTANDING, polled: int = POLLED) -> None:
    """Print and keep the figures."""
    with tempfile.TemporaryDirectory() as place, answering(Path(place)) as port:
        folder = Path(place) / "us"
        folder.mkdir()
        url = f"http://127.0.0.1:{port}/0/api/v1"
        with running(folder, url, sends=False, polls=True) as us:
            time.sleep(5)
            idle = busy(us, WATCHED_SECONDS)
            us.submit("bench", outstanding)
            put_aside(us, "bench")
            time.sleep(3)
            gets = counts(port)["gets"]
            waiting = busy(us, WATCHED_SECONDS)
            asked = counts(port)["gets"] - gets
            before = us.cpu()
            began = time.perf_counter()
            with us.store() as store, store.write() as tx:
                tx.conn.execute(
                    text(
                        "UPDATE submissions SET due_at = 0 WHERE id IN (SELECT id FROM submissions"
                        " WHERE state = 'queued' ORDER BY id LIMIT :number)"
                    ),
                    {"number": polled},
                )
            us.await_states("bench", {"succeeded"}, polled)
            seconds = time.perf_counter() - began
            after = us.cpu()
    cpu = 1000 * (sum(after.values()) - sum(before.values()) - waiting * seconds) / polled
    print(
        f"{outstanding:,} outstanding, none due, {WATCHED_SECONDS:.0f} s: {asked} requests, "
        f"{100 * waiting:.1f} % of a core; with nothing outstanding {100 * idle:.1f} %"
    )
    print(f"{polled:,} polls: {polled / seconds:,.0f} a second, {cpu:.2f} ms CPU each")
    kept.keep(
        "outstanding",
        {
            "outstanding": outstanding,
            "requests": asked,
            "cores_used": waiting,
            "cores_used_idle": idle,
            "polls_per_second": polled / seconds,
            "cpu_ms_per_poll": cpu,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outstanding", type=int, default=OUTSTANDING)
    parser.add_argument("--polled", type=int, default=POLLED)
    options = parser.parse_args()
    report(options.outstanding, options.polled)


if __name__ == "__main__":
    main()
