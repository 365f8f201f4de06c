"""An installation in this process whose provider is a real server and whose time moves when told.

Database, journal, broker, HTTP client and connections are real; only waiting is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio
from sqlalchemy import Row, func, select

from orchestrator.domain.account import Account, Accounts, fingerprint
from orchestrator.domain.breaker import Breaker
from orchestrator.domain.submission import Policy
from orchestrator.journal import JournalWriter
from orchestrator.limits import RateLimiter
from orchestrator.provider import ProviderClient, Timeouts
from orchestrator.provider.transport import open_transport
from orchestrator.services import (
    dispatch,
    finishing,
    gatekeeping,
    intake,
    polling,
    rescue,
    submission,
)
from orchestrator.services.context import Context, Timing
from orchestrator.services.desk import Desk
from orchestrator.store import batches, claims, gates, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.migrated import migrated
from tests.support.sandbox import KEY

HOUR = 3_600_000
BUDGET = 1_000_000_000
"""One dollar: under it the first row of an unknown price holds just this."""
_NEVER = 1 << 50
Work = Callable[[Desk], Coroutine[None, None, int]]


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it left this process."""

    method: str
    path: str
    key: str
    authorization: str
    body: bytes


@dataclass
class ServedShop:
    """`ahead`: seconds its clocks are ahead."""

    folder: Path
    broker: str
    base_url: str
    api_key: str = KEY
    timeout: float = 5.0
    ahead: float = 0.0
    wall_step: float = 0.0
    """Seconds that somebody has set the wall clock forward; the monotonic one knows nothing."""
    monotonic_step: float = 0.0
    cut_off: str | None = None
    """Where requests go instead, while the provider cannot be reached."""
    on_post: Callable[[], None] = lambda: None
    on_journal: Callable[[], None] = lambda: None
    """Called once, when the first intent is about to be written."""
    requests: list[Sent] = field(default_factory=list)
    breaker: Breaker = field(default_factory=Breaker)

    def __post_init__(self) -> None:
        url = migrated(self.folder / "shop.db")
        self.store = Store(url, clock=lambda: round(self.wall() * 1000))
        self.journal = JournalWriter(
            self.folder / "journal", created=lambda _name: self.on_journal()
        )
        self._runner = asyncio.Runner()
        self._desks: dict[tuple[str, str, float], Desk] = {}
        self._server: redis.asyncio.Redis | None = None

    def close(self) -> None:
        self._runner.run(self._close_desks())
        self._runner.close()
        self.journal.close()
        self.store.close()

    async def _close_desks(self) -> None:
        for desk in self._desks.values():
            await desk.client.aclose()
        if self._server is not None:
            await self._server.aclose()

    def wall(self) -> float:
        return time.time() + self.ahead + self.wall_step

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead + self.monotonic_step

    @property
    def account(self) -> str:
        return fingerprint(self.api_key)

    @property
    def context(self) -> Context:
        return Context(
            store=self.store,
            provider=self.base_url,
            accounts=Accounts((Account("default", self.account),)),
            namespace="",
            actor="tester",
            policy=Policy(deadline=HOUR, retention=24 * HOUR),
            timing=Timing(request=round(self.timeout * 1000), chunk_size=50),
            presence=self.folder / "processes",
        )

    def submit(self, number: int = 1, *, name: str = "shop", budget: int | None = BUDGET) -> Batch:
        """Rows `r0`, `r1`, … whose prompts no other test has."""
        spec = self.folder / f"{name}.csv"
        told = self.folder.name
        rows = "".join(f"r{i},{told} {name}: a kettle {i}\n" for i in range(number))
        spec.write_text(f"id,prompt\n{rows}")
        options = intake.Options(f"{told}-{name}", "default", budget_nanos=budget)
        return intake.take_in(
            self.context, spec, options=lambda _spec: options, confirm=lambda _proposal: True
        ).batch

    def send(self) -> int:
        """One tick of dispatch and all its chunks; returns how many POSTs left."""
        before = len(self.posts)
        for chunk in self.dispatched():
            self.deliver(chunk.item_ids, probe=chunk.probe, chunk_id=chunk.id)
        return len(self.posts) - before

    def dispatched(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        with self.store.write() as tx:
            workers.seen(tx, "one", processes=1, submits=True)
        dispatch.run_once(self.context, chunks.append)
        return chunks

    def deliver(
        self, item_ids: Sequence[int], *, probe: bool = False, chunk_id: str = "late"
    ) -> int:
        """A submit message arrives; returns how many answers were recorded."""
        return self.work(lambda desk: submission.run_chunk(desk, chunk_id, item_ids, probe=probe))

    def ask(self) -> int:
        """One poll tick and all its chunks; returns how many GETs left."""
        before = len(self.requests)
        tokens: list[str] = []
        polling.run_once(self.context, lambda token, *_: tokens.append(token))
        for token in tokens:
            self.work(lambda desk, token=token: polling.run_chunk(desk, token))
        return len(self.requests) - before

    def upkeep(self) -> None:
        """Rescue, gates and finishing, as the ticks would have it."""
        rescue.run_once(self.context)
        self.work(gatekeeping.probe_once)
        finishing.run_once(self.context)

    def to_the_end(self, rounds: int = 200) -> None:
        """Everything goes on until each batch is finished; fails the test when it does not."""
        for _ in range(rounds):
            self.upkeep()
            if self.finished:
                return
            self.send()
            self.ask()
            self.until_due()
        raise AssertionError(f"not finished: {self.rows()}")

    @property
    def finished(self) -> bool:
        query = select(func.count()).select_from(t.batches).where(t.batches.c.finished_at.is_(None))
        with self.store.read() as tx:
            return tx.conn.execute(query).scalar_one() == 0

    def later(self, seconds: float) -> None:
        """Time passes everywhere, at the limiter's mirror of the gates too."""
        self.ahead += seconds
        self.work(_forget_gate)

    def until_due(self) -> None:
        """Time passes until whatever waits may be tried again."""
        self.later(max(0, self.wait_ms) / 1000 + 0.001)

    @property
    def wait_ms(self) -> int:
        """How long until then; below zero where it may be tried already."""
        waits = (
            select(func.max(t.items.c.due_at)).where(t.items.c.due_at < _NEVER),
            select(func.max(t.submissions.c.due_at)),
            select(func.max(func.coalesce(t.gates.c.until, t.gates.c.probe_at))).where(
                t.gates.c.opened_at.is_(None)
            ),
        )
        with self.store.read() as tx:
            latest = max(tx.conn.execute(query).scalar_one() or 0 for query in waits)
            return int(latest) - tx.now

    def work(self, work: Work) -> int:
        return self._runner.run(self._at_the_desk(work))

    async def _at_the_desk(self, work: Work) -> int:
        made_for = (self.cut_off or self.base_url, self.api_key, self.timeout)
        if made_for not in self._desks:
            self._desks[made_for] = self._desk(*made_for)
        return await work(self._desks[made_for])

    def _desk(self, url: str, api_key: str, timeout: float) -> Desk:
        """Made once for each provider, key and patience: connecting costs more than a test."""
        account = fingerprint(api_key)
        self._server = self._server or redis.asyncio.Redis.from_url(self.broker)
        return Desk(
            context=self.context,
            account=account,
            owner="me",
            client=ProviderClient(
                base_url=url,
                api_key=api_key,
                timeouts=Timeouts(connect=timeout, total=timeout),
                transport=_Wire(url, self._note),
            ),
            # Each installation has a rate of its own at the shared broker.
            limiter=RateLimiter(
                self._server,
                account=f"{self.folder.name}-{account}",
                rate=None,
                burst=1,
            ),
            journal=self.journal,
            wall=self.wall,
            monotonic=self.monotonic,
            jitter=lambda: 0.5,
            breaker=self.breaker,
        )

    def _note(self, sent: Sent) -> None:
        self.requests.append(sent)
        if sent.method == "POST":
            self.on_post()

    @property
    def posts(self) -> list[Sent]:
        return [sent for sent in self.requests if sent.method == "POST"]

    def rows(self) -> list[Row[Any]]:
        """The submissions in the order of their items."""
        with self.store.read() as tx:
            return list(tx.conn.execute(select(t.submissions).order_by(t.submissions.c.item_id)))

    def row(self) -> Row[Any]:
        (found,) = self.rows()
        return found

    def batch(self, batch: Batch) -> Batch:
        with self.store.read() as tx:
            return batches.get(tx, batch.id)

    def closed(self) -> list[str]:
        with self.store.read() as tx:
            found = gates.closed(tx, self.base_url, self.account)
            return [str(gate.reason) for gate in found]

    def may_be_sent(self, batch: Batch) -> list[int]:
        with self.store.read() as tx:
            return [row.item_id for row in claims.next_items(tx, batch.id, 100)]


class _Wire(httpx.AsyncBaseTransport):
    """Real connections, with a note of each request before it leaves."""

    def __init__(self, base_url: str, note: Callable[[Sent], None]) -> None:
        self._inner = open_transport(httpx.URL(base_url), 50)
        self._note = note

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = request.headers
        self._note(
            Sent(
                request.method,
                request.url.path,
                headers.get("idempotency-key", ""),
                headers.get("authorization", ""),
                await request.aread(),
            )
        )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _forget_gate(desk: Desk) -> int:
    await desk.limiter.open()
    return 0
