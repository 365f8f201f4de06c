"""An installation whose provider is a function: real database, broker and journal around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis.asyncio

from orchestrator.domain.account import Account, Accounts
from orchestrator.domain.breaker import Breaker
from orchestrator.domain.in_flight import InFlight
from orchestrator.domain.states import State
from orchestrator.domain.submission import Policy
from orchestrator.journal import JournalWriter
from orchestrator.limits import RateLimiter
from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.services import gatekeeping, intake, polling, submission
from orchestrator.services.context import Context, Timing
from orchestrator.services.desk import Desk
from orchestrator.store import claims, schema
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Store
from tests.support.counted import counts as counts_of
from tests.support.migrated import migrated

PROVIDER = "http://127.0.0.1:1/api/v1"
Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def limited(most: int | None = None, **by_model: int) -> Accounts:
    """The shop's account with a limit of tasks in flight."""
    return Accounts((Account("default", "acc", in_flight=InFlight(most, by_model)),))


@dataclass
class Shop:
    """An installation whose provider is `answer`."""

    folder: Path
    broker: str
    answer: Handler
    retention: int = 86_400_000
    ahead: float = 0.0
    clock: Callable[[], float] = time.time
    posts: list[str] = field(default_factory=list)
    breaker: Breaker = field(default_factory=Breaker)
    make_journal: Callable[[Path], JournalWriter] = JournalWriter
    sender: str = "acc"
    """Whose desk takes the messages."""
    url: str | None = None
    """The database; None is a SQLite file of its own."""

    def __post_init__(self) -> None:
        self.store = Store(self.url or migrated(self.folder / "shop.db"))
        schema.upgrade(self.store)
        self.journal = self.folder / "journal"
        self.context = Context(
            store=self.store,
            provider=PROVIDER,
            accounts=Accounts((Account("default", "acc"),)),
            namespace="",
            actor="tester",
            policy=Policy(deadline=3_600_000, retention=self.retention),
            timing=Timing(request=2_000, chunk_size=50),
            presence=self.folder / "processes",
        )

    def submit(
        self,
        number: int,
        *,
        budget: int | None = None,
        name: str = "shop",
        account: str | None = None,
    ) -> Batch:
        spec = self.folder / "shop.csv"
        rows = "".join(f"r{i},a kettle {i}\n" for i in range(number))
        spec.write_text(f"id,prompt\n{rows}")
        options = intake.Options(name, "default", budget_nanos=budget, account=account)
        taken = intake.take_in(
            self.context, spec, options=lambda _spec: options, confirm=lambda _proposal: True
        )
        return taken.batch

    def due(self, batch: Batch) -> list[int]:
        with self.store.read() as tx:
            return [row[0] for row in claims.next_items(tx, batch.id, 100)]

    def buy(self, item_ids: list[int], *, probe: bool = False) -> int:
        return asyncio.run(
            self.with_desk(lambda desk: submission.run_chunk(desk, "c", item_ids, probe=probe))
        )

    def poll(self, token: str, *, gate: str | None = None) -> int:
        """Poll a chunk, with the limiter's mirror of a standing gate closed if one is named."""

        async def work(desk: Desk) -> int:
            if gate is not None:
                await desk.limiter.close(gate, None)
            return await polling.run_chunk(desk, token)

        return asyncio.run(self.with_desk(work))

    def probe(self) -> int:
        return asyncio.run(self.with_desk(gatekeeping.probe_once))

    async def with_desk(self, work: Callable[[Desk], Coroutine[None, None, int]]) -> int:
        async def count(request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                self.posts.append(request.headers["idempotency-key"])
            return await self.answer(request)

        client = ProviderClient(
            base_url=PROVIDER,
            api_key="mv_live_secret",
            timeouts=Timeouts(connect=1, total=2),
            transport=httpx.MockTransport(count),
        )
        server = redis.asyncio.Redis.from_url(self.broker)
        await server.flushdb()
        desk = Desk(
            context=self.context,
            account=self.sender,
            owner="me",
            client=client,
            limiter=RateLimiter(server, account=self.sender, rate=None, burst=1),
            journal=self.make_journal(self.journal),
            wall=lambda: self.clock() + self.ahead,
            monotonic=time.monotonic,
            jitter=lambda: 0.5,
            breaker=self.breaker,
        )
        try:
            return await work(desk)
        finally:
            desk.journal.close()
            await client.aclose()
            await server.aclose()

    def counts(self, batch: Batch) -> dict[State, int]:
        with self.store.read() as tx:
            return {state: n for state, n in counts_of(tx, batch.id).items() if n}


async def accept(request: httpx.Request) -> httpx.Response:
    """Every task is accepted, and done when asked about."""
    shape = {"request_id": "req", "task_id": "task_1", "cost_estimate": 0.0414}
    if request.method == "POST":
        shape["task_id"] = "task_" + request.headers["idempotency-key"][:8]
        return httpx.Response(200, json=shape | {"status": "queued"})
    output = {"videos": [{"url": "https://x/1.mp4"}]}
    shape["task_id"] = request.url.path.rpartition("/")[2]
    return httpx.Response(
        200, json=shape | {"status": "succeeded", "cost_actual": 0.0414, "output": output}
    )
