"""Schedules over a store whose clock is moved by hand; batches end when a test says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from orchestrator.domain.account import Account, Accounts
from orchestrator.domain.submission import Policy
from orchestrator.services import finishing, recurrence, scheduling
from orchestrator.services.context import Context, Timing
from orchestrator.store import occurrences, schedules
from orchestrator.store import tables as t
from orchestrator.store.engine import Store, Tx
from orchestrator.store.occurrences import Run
from orchestrator.store.patience import Patience
from orchestrator.store.schedules import Schedule
from tests.support.stores import PROVIDER, Clock


class Died(BaseException):
    """The process is gone: nothing it would have cleaned up is cleaned up."""


class MortalStore(Store):
    """Dies at its nth write from now, before or after the commit; then it answers nobody."""

    fate: tuple[int, bool] | None = None
    dead = False

    @contextmanager
    def read(self, patience: Patience | None = None) -> Iterator[Tx]:
        self._live()
        with super().read(patience) as tx:
            yield tx

    @contextmanager
    def write(self, patience: Patience | None = None) -> Iterator[Tx]:
        self._live()
        before = after = False
        if self.fate is not None:
            left, committed = self.fate
            self.fate = (left - 1, committed)
            before, after = left == 0 and not committed, left == 0 and committed
        with super().write(patience) as tx:
            yield tx
            if before:
                self.dead = True
                raise Died
        if after:
            self.dead = True
            raise Died

    def _live(self) -> None:
        if self.dead:
            raise Died

    def revive(self) -> None:
        self.dead, self.fate = False, None


@dataclass
class Planner:
    """An installation that only makes batches."""

    store: Store
    folder: Path
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        clock = self.store._clock
        assert isinstance(clock, Clock)
        self.clock = clock
        self.context = Context(
            store=self.store,
            provider=PROVIDER,
            accounts=Accounts((Account("default", "acc"),)),
            namespace="",
            actor="tester",
            policy=Policy(deadline=3_600_000, retention=86_400_000),
            timing=Timing(request=2_000, chunk_size=50),
            presence=self.folder / "processes",
        )

    def write(self, name: str, *prompts: str) -> Path:
        path = self.folder / name
        path.write_text("prompt\n" + "".join(f"{prompt}\n" for prompt in prompts))
        return path

    def add(self, schedule: str, spec: Path, cron: str, **terms: str) -> Schedule:
        given = terms | {"cron": cron}
        definition = scheduling.define(self.context, schedule, spec, given)
        return scheduling.add(self.context, definition)

    def tick(self, *, at: int | None = None) -> recurrence.Report:
        if at is not None:
            self.clock.now = at
        return recurrence.run_once(self.context)

    def schedule(self, name: str) -> Schedule:
        return scheduling.find(self.context, name)

    def next(self, name: str) -> int:
        at = self.schedule(name).next_at
        assert at is not None
        return at

    def runs(self, name: str) -> list[Run]:
        """Oldest first."""
        with self.store.read() as tx:
            return occurrences.latest(tx, name, 10_000)[::-1]

    def states(self, name: str) -> list[str]:
        return [run.state.value for run in self.runs(name)]

    def titles(self) -> list[str]:
        """Every published batch."""
        b = t.batches.c
        query = select(b.name, b.label).where(b.published_at.is_not(None)).order_by(b.id)
        with self.store.read() as tx:
            return [f"{name}@{label}" for name, label in tx.conn.execute(query)]

    def prompts(self, title: str) -> list[str]:
        name, _, label = title.partition("@")
        query = (
            select(t.inputs.c.input_json)
            .join(t.items, t.items.c.digest == t.inputs.c.digest)
            .join(t.batches, t.batches.c.id == t.items.c.batch_id)
            .where(t.batches.c.name == name, t.batches.c.label == label)
            .order_by(t.items.c.position)
        )
        with self.store.read() as tx:
            return [json.loads(body)["prompt"] for body in tx.conn.execute(query).scalars()]

    def end_batches(self, state: str = "succeeded") -> None:
        """Every row of every batch comes to this end."""
        with self.store.write() as tx:
            tx.conn.execute(update(t.items).where(t.items.c.state == "pending").values(state=state))
        finishing.run_once(self.context)

    def events(self, kind: str) -> list[dict[str, Any]]:
        query = select(t.outbox.c.payload).where(t.outbox.c.kind == f"schedule.{kind}")
        with self.store.read() as tx:
            found = tx.conn.execute(query.order_by(t.outbox.c.id)).scalars()
            return [json.loads(payload) for payload in found]

    def every(self) -> list[Schedule]:
        with self.store.read() as tx:
            return schedules.every(tx)
