"""The sandbox's memory: keys, tasks and the charge ledger, in one SQLite file of its own.

What a request changes is committed before it is answered; requests that come together share a
commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from orchestrator.sandbox.engine import Status

SCHEMA = 2
_TABLES = """
CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT, hash TEXT UNIQUE, hint TEXT, created_at REAL,
  disabled INTEGER DEFAULT 0, per_second REAL, in_flight INTEGER);
CREATE TABLE tasks (number INTEGER PRIMARY KEY, task_id TEXT UNIQUE, request_id TEXT, key_id TEXT,
  idempotency_key TEXT, payload TEXT, prompt TEXT, size TEXT, duration INTEGER, audio INTEGER,
  estimate TEXT, actual TEXT, created_at REAL, starts_at REAL, ends_at REAL, end TEXT);
CREATE TABLE charges (id INTEGER PRIMARY KEY, task_id TEXT, idempotency_key TEXT, payload TEXT,
  amount TEXT, at REAL);
CREATE INDEX charges_by_payload ON charges (payload);
"""


_SINCE_1 = """
ALTER TABLE keys ADD COLUMN per_second REAL;
ALTER TABLE keys ADD COLUMN in_flight INTEGER;
"""


class StateError(Exception):
    """The state file cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task; `payload` is the digest of the request's body, times are seconds."""

    number: int
    task_id: str
    request_id: str
    key_id: str
    idempotency_key: str | None
    payload: str
    prompt: str
    size: str
    duration: int
    audio: bool
    estimate: str
    actual: str
    created_at: float
    starts_at: float
    ends_at: float
    end: Status


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is remembered: its hash is stored, the key itself is not."""

    id: str
    name: str
    hint: str
    created_at: float
    disabled: bool
    per_second: float | None = None
    """Submits a second beyond which this key is answered 429; None for no limit of its own."""
    in_flight: int | None = None
    """Unfinished tasks likewise."""


_KEY_FIELDS = "id, name, hint, created_at, disabled, per_second, in_flight"
_TASK_FIELDS = [field.name for field in fields(Task)]
_MARKS = ", ".join("?" * len(_TASK_FIELDS))


class Store:
    """Raises StateError where `path` cannot be used."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._migrate(path)
        except (sqlite3.Error, OSError) as error:
            raise StateError(
                f"{path} cannot be used as the sandbox's state: {error}. Choose another --state."
            ) from None
        self._committing: asyncio.Future[None] | None = None
        self.tasks: dict[str, Task] = {}
        self.by_key: dict[tuple[str, str], Task] = {}

    def _migrate(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
        elif version == 1:
            self._db.executescript(f"BEGIN; {_SINCE_1} PRAGMA user_version={SCHEMA}; COMMIT;")
        elif version != SCHEMA:
            raise StateError(f"{path} is no sandbox state of this release. Choose another --state.")

    def load(self, scope_by_key: bool) -> None:
        """Read all tasks into memory, where requests find them."""
        for row in self._db.execute("SELECT * FROM tasks ORDER BY number"):
            values = dict(zip(_TASK_FIELDS, row, strict=True))
            values |= {"audio": bool(values["audio"]), "end": Status(values["end"])}
            self._remember(Task(**values), scope_by_key)

    def _remember(self, task: Task, scope_by_key: bool) -> None:
        self.tasks[task.task_id] = task
        if task.idempotency_key is not None:
            scope = task.key_id if scope_by_key else ""
            self.by_key[scope, task.idempotency_key] = task

    def add(self, task: Task, *, scope_by_key: bool) -> None:
        """A new task and its charge; `settled` makes it last."""
        self._begin()
        self._db.execute(f"INSERT INTO tasks VALUES ({_MARKS})", astuple(task))
        self._db.execute(
            "INSERT INTO charges (task_id, idempotency_key, payload, amount, at)"
            " VALUES (?, ?, ?, ?, ?)",
            (task.task_id, task.idempotency_key, task.payload, task.actual, task.created_at),
        )
        self._remember(task, scope_by_key)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    async def settled(self) -> None:
        """Return when everything added so far is on disk."""
        if self._committing is None:
            self._committing = asyncio.ensure_future(self._commit())
        await asyncio.shield(self._committing)

    async def _commit(self) -> None:
        # Let the requests that arrived together add theirs first.
        await asyncio.sleep(0.001)
        self._committing = None
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    # Keys

    def create_key(
        self,
        name: str,
        key: str | None = None,
        *,
        per_second: float | None = None,
        in_flight: int | None = None,
    ) -> tuple[Key, str]:
        """A new key and its text, which is shown once and never stored."""
        text = key or f"mv_live_{secrets.token_hex(16)}"
        hint, now = f"…{text[-4:]}", time.time()
        made = Key(f"key_{secrets.token_hex(4)}", name, hint, now, False, per_second, in_flight)
        self._db.execute(
            f"INSERT INTO keys ({_KEY_FIELDS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (hash) DO NOTHING",
            (*astuple(made), _hash(text)),
        )
        return made, text

    def keys(self) -> list[Key]:
        return [
            _key(row)
            for row in self._db.execute(f"SELECT {_KEY_FIELDS} FROM keys ORDER BY created_at")
        ]

    def limit_key(self, key_id: str, per_second: float | None, in_flight: int | None) -> bool:
        """Other limits from now on; whether there is such a key."""
        statement = "UPDATE keys SET per_second = ?, in_flight = ? WHERE id = ?"
        return self._db.execute(statement, (per_second, in_flight, key_id)).rowcount > 0

    def set_disabled(self, key_id: str, disabled: bool) -> bool:
        """Whether there is such a key."""
        statement = "UPDATE keys SET disabled = ? WHERE id = ?"
        return self._db.execute(statement, (disabled, key_id)).rowcount > 0

    def delete_key(self, key_id: str) -> bool:
        """Whether there was such a key."""
        return self._db.execute("DELETE FROM keys WHERE id = ?", (key_id,)).rowcount > 0

    def key_of(self, text: str) -> Key | None:
        """The enabled key that reads so."""
        query = f"SELECT {_KEY_FIELDS} FROM keys WHERE hash = ? AND NOT disabled"
        row = self._db.execute(query, (_hash(text),)).fetchone()
        return None if row is None else _key(row)

    # The ledger

    def charges(self) -> list[dict[str, object]]:
        names = ("task_id", "idempotency_key", "payload", "amount", "at")
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM charges ORDER BY id")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def charges_by_key(self) -> dict[str, int]:
        """Key id -> how many charges its tasks caused."""
        query = "SELECT key_id, count(*) FROM charges JOIN tasks USING (task_id) GROUP BY key_id"
        return dict(self._db.execute(query).fetchall())

    def charged_twice(self) -> int:
        """Inputs that were charged more than once, under whatever keys."""
        query = "SELECT count(*) FROM (SELECT 1 FROM charges GROUP BY payload HAVING count(*) > 1)"
        return int(self._db.execute(query).fetchone()[0])

    def close(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._db.close()


def _key(row: tuple[Any, ...]) -> Key:
    key_id, name, hint, created_at, disabled, *limits = row
    return Key(key_id, name, hint, created_at, bool(disabled), *limits)


def _hash(text: str) -> str:
    return hashlib.sha256(f"sandbox key\0{text}".encode()).hexdigest()


def latest_ends(tasks: Iterable[Task], number: int) -> list[float]:
    """When the slots of the newest tasks become free."""
    return sorted((task.ends_at for task in tasks), reverse=True)[:number]
