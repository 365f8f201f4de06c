"""How much slower taking a spec in is than the bare loop over its rows.

The bare loop reads the CSV, validates each row with the same pydantic model, hashes its JSON, and
inserts it into one table, a thousand rows to a statement. Each part runs in a process of its own,
whose peak memory is told. `python -m tests.benchmarks.intake --rows 1000000 --postgres`
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from sqlalchemy import create_engine, text

from orchestrator.domain.account import Accounts
from orchestrator.domain.models import DEFAULT_MODEL, get_model
from orchestrator.domain.submission import Policy
from orchestrator.services import intake, planning, status
from orchestrator.services.context import Context, Timing
from orchestrator.spec import open_spec
from orchestrator.spec import validate as read_whole
from orchestrator.store import batches, schema
from orchestrator.store.engine import Store
from tests.support.postgres import fresh_database, postgres_server

ROWS = 20_000
GROUP = 1000
_Part = Callable[[Path, str], object]


def write(path: Path, rows: int) -> None:
    """A table of about 150 bytes a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prompt", "size", "duration", "mode"])
        scene = "a slow dolly shot through a market at night, lanterns swaying in a light rain"
        for number in range(rows):
            size, duration = ("16:9", "9:16")[number % 2], (5, 10)[number % 3 == 0]
            writer.writerow([f"row-{number:07}", f"{scene}, take {number}", size, duration, "std"])


def bare(path: Path, url: str) -> None:
    """What a script would do at the least."""
    schema_of = get_model(DEFAULT_MODEL).schema
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE bare (id TEXT, digest TEXT PRIMARY KEY, input TEXT)"))
    statement = text("INSERT INTO bare VALUES (:id, :digest, :input)")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        while group := list(islice(reader, GROUP)):
            rows = []
            for row in group:
                row_id = row.pop("id")
                given: dict[str, object] = dict(row, duration=int(row["duration"]))
                values = schema_of.model_validate(given).model_dump(mode="json")
                body = json.dumps(values, sort_keys=True)
                digest = hashlib.sha256(body.encode()).hexdigest()
                rows.append({"id": row_id, "digest": digest, "input": body})
            with engine.begin() as conn:
                conn.execute(statement, rows)


def checked(path: Path, _url: str) -> None:
    """Read and check each row, and keep nothing."""
    for _ in open_spec(path).rows():
        pass


def validated(path: Path, _url: str) -> None:
    """What `validate` does."""
    read_whole(path)


def context(url: str) -> Context:
    store = Store(url)
    policy = Policy(deadline=1, retention=1)
    timing = Timing(request=1000, chunk_size=50)
    return Context(store, "http://p", Accounts(), "", "bench", policy, timing, Path("unused"))


def taken_in(path: Path, url: str) -> None:
    """Read, check, key, stage and publish."""
    intake.take_in(
        context(url),
        path,
        options=lambda _spec: intake.Options("bench", "default"),
        confirm=lambda _proposal: True,
    )


def planned(path: Path, url: str) -> None:
    """What `plan` does where every row is known."""
    planning.plan(context(url), path, name="bench", label="default", budget_nanos=None)


def told(_path: Path, url: str) -> float:
    """The time that `status` itself takes, imports and opening apart."""
    here = context(url)
    with here.store.read() as tx:
        batch = batches.find(tx, "bench", "default")
    assert batch is not None
    start = time.perf_counter()
    with here.store.read() as tx:
        status.read(tx, here, batch)
    return time.perf_counter() - start


PARTS: tuple[_Part, ...] = (bare, checked, validated, taken_in, planned, told)


def _measure(part: _Part, path: Path, url: str, answer: multiprocessing.Queue[object]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    found = part(path, url)
    took = found if isinstance(found, float) else time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer.put((took, after.ru_utime - before.ru_utime, after.ru_maxrss / 1024))


def measured(path: Path, url: str) -> Iterator[tuple[str, float, float, float]]:
    """(part, seconds, of them user time, peak memory in MB) of each part, in its own process."""
    spawn = multiprocessing.get_context("spawn")
    for part in PARTS:
        answer = spawn.Queue()
        process = spawn.Process(target=_measure, args=(part, path, url, answer))
        process.start()
        took, user, memory = answer.get()
        process.join()
        yield part.__name__, took, user, memory


def report(rows: int = ROWS, *, postgres: bool = False) -> None:
    """Print a table of times and ratios to the bare loop."""
    with (
        tempfile.TemporaryDirectory() as place,
        postgres_server() if postgres else nullcontext() as server,
    ):
        path = Path(place) / "bench.csv"
        write(path, rows)
        url = fresh_database(server) if server else f"sqlite:///{place}/bench.db"
        name = "PostgreSQL" if postgres else "SQLite"
        schema.upgrade(Store(url))
        print(f"{name}, {rows:,} rows, {path.stat().st_size / 1e6:.1f} MB", flush=True)
        floor = None
        for part, took, user, memory in measured(path, url):
            floor = floor or took
            rate = f"{rows / took:12,.0f} rows/s {took / floor:8.2f} x" if part != "told" else ""
            line = f"{part:10} {took:9.3f} s {user:8.2f} s user {memory:6.0f} MB {rate}"
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    report(options.rows, postgres=options.postgres)


if __name__ == "__main__":
    main()
