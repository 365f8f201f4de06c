"""Asking the provider again about every submission of a batch, and comparing, money included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.domain.account import KEY_VARIABLE
from orchestrator.domain.money import to_usd
from orchestrator.domain.outcome import Accepted, AskLater, Detail, Gated, PollOutcome
from orchestrator.domain.reconciliation import OPEN_QUESTIONS, Finding, Kind, compare, learn
from orchestrator.domain.states import IN_FLIGHT
from orchestrator.errors import ConfigError, ServiceError
from orchestrator.journal import read_batch
from orchestrator.limits import Granted, RateLimiter, Wait
from orchestrator.provider import ProviderClient
from orchestrator.services.context import Context
from orchestrator.store import lives
from orchestrator.store.batches import Batch
from orchestrator.store.lives import Stored

PAGE = 200
AT_ONCE = 20
TRIES = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """A finding with its place; `position` 0 where the database has no such row."""

    position: int
    row_key: str
    generation: int
    task_id: str | None
    finding: Finding

    def as_json(self) -> dict[str, object]:
        return {
            "position": self.position,
            "row_key": self.row_key,
            "generation": self.generation,
            "task_id": self.task_id,
            **asdict(self.finding),
        }


@dataclass(slots=True)
class Report:
    """Money in nano-dollars over the submissions that the provider was asked about."""

    batch: Batch
    checked: int = 0
    ours: int = 0
    theirs: int = 0
    found: list[Difference] = field(default_factory=list)

    @property
    def differences(self) -> list[Difference]:
        return [one for one in self.found if one.finding.kind not in OPEN_QUESTIONS]

    def exit_code(self) -> int:
        """6 for a difference, 5 where something could not be compared."""
        if self.differences:
            return 6
        return 5 if self.found else 0

    def as_json(self) -> dict[str, object]:
        return {
            "batch": self.batch.title,
            "checked": self.checked,
            "cost": {"ours": to_usd(self.ours), "theirs": to_usd(self.theirs)},
            "differences": [one.as_json() for one in self.differences],
            "open": [one.as_json() for one in self.found if one.finding.kind in OPEN_QUESTIONS],
        }


@dataclass(frozen=True, slots=True)
class Asker:
    """What asks; without a broker it keeps the pace by itself, since asking costs nothing."""

    client: ProviderClient
    limiter: RateLimiter
    spacing: float
    """Seconds between two requests where the shared limiter is out of reach."""
    variable: str = KEY_VARIABLE
    """Where its key is set."""

    async def ask(self, task_id: str) -> PollOutcome:
        answer: PollOutcome = AskLater(Detail(message="not asked"))
        for _ in range(TRIES):
            await self._turn()
            answer = await self.client.task(task_id)
            if not isinstance(answer, AskLater):
                break
            await asyncio.sleep(min(answer.retry_after or 0.5, 5.0))
        if isinstance(answer, Gated):
            raise ConfigError(
                f"the provider refuses to answer: {answer.detail.message}",
                mend=f"Check {self.variable} and MINDVIDEO_BASE_URL; `orchestrator doctor` helps.",
                code=answer.reason.value,
            )
        return answer

    async def _turn(self) -> None:
        while True:
            try:
                granted = await self.limiter.acquire(buys=False)
            except ServiceError:
                await asyncio.sleep(self.spacing)
                return
            if isinstance(granted, Granted):
                return
            seconds = granted.seconds if isinstance(granted, Wait) else 1.0
            await asyncio.sleep(seconds or 1.0)


@dataclass(frozen=True, slots=True)
class Askers:
    """One for each account; `client` is the connections that they share."""

    by_account: Mapping[str, Asker]
    client: ProviderClient

    async def ask(self, account: str, task_id: str) -> PollOutcome:
        """What the provider says to the key that bought the task, and to no other."""
        asker = self.by_account.get(account)
        if asker is None:
            return AskLater(Detail(message="it was sent with an API key that is not set here"))
        return await asker.ask(task_id)


async def reconcile(
    context: Context,
    askers: Askers,
    batch: Batch,
    *,
    journals: Sequence[Path],
    progress: Callable[[int], None] = lambda _checked: None,
) -> Report:
    """Compare every submission. A cost that was assumed is taken over where it is named now.

    Raises ConfigError where the provider refuses the key.
    """
    report = Report(batch)
    after = 0
    while page := await asyncio.to_thread(_page, context, batch, after):
        await _check(context, askers, page, report)
        after = page[-1].id
        progress(report.checked)
    await asyncio.to_thread(_find_orphans, context, batch, journals, report)
    return report


def _page(context: Context, batch: Batch, after: int) -> list[Stored]:
    with context.store.read() as tx:
        return lives.page_of_batch(tx, batch.id, after, PAGE)


async def _check(context: Context, askers: Askers, page: Sequence[Stored], report: Report) -> None:
    with context.store.read() as tx:
        names = lives.row_names(tx, [one.item_id for one in page])
        videos = lives.urls_of(tx, [one.id for one in page])
    at_once = asyncio.Semaphore(AT_ONCE)

    async def ask(stored: Stored) -> PollOutcome | None:
        if not stored.life.task_id:
            return None
        async with at_once:
            return await askers.ask(stored.account, stored.life.task_id)

    answers = await asyncio.gather(*(ask(one) for one in page))
    learned = []
    for stored, answer in zip(page, answers, strict=True):
        for finding in _findings(stored, videos.get(stored.id, ()), answer):
            if report.batch.archived_at is not None and finding.field == "video_urls":
                continue
            place = names[stored.item_id]
            report.found.append(Difference(*place, stored.generation, stored.life.task_id, finding))
        if answer is not None:
            _count(report, stored, answer)
            learned.append((stored, answer))
    await asyncio.to_thread(_learn, context, learned)


def _findings(stored: Stored, videos: Sequence[str], answer: PollOutcome | None) -> list[Finding]:
    if answer is not None:
        return compare(stored.life, videos, answer)
    if stored.life.state in IN_FLIGHT:
        return [Finding(Kind.UNRESOLVED, "state", str(stored.life.state), None)]
    return []


def _count(report: Report, stored: Stored, answer: PollOutcome) -> None:
    report.checked += 1
    report.ours += (stored.life.actual_nanos or 0) + (stored.life.assumed_nanos or 0)
    if isinstance(answer, Accepted) and answer.task.cost_actual:
        report.theirs += answer.task.cost_actual.nanos


def _learn(context: Context, answers: Sequence[tuple[Stored, PollOutcome]]) -> None:
    with context.store.write() as tx:
        decided = [
            (stored, decision)
            for stored, answer in answers
            if (decision := learn(stored.life, answer, now=tx.now))
        ]
        lives.record(tx, decided, actor=context.actor)


def _find_orphans(context: Context, batch: Batch, journals: Sequence[Path], report: Report) -> None:
    """Purchases that the journal knows and the database does not."""
    book = read_batch(journals, namespace=batch.namespace, name=batch.name, label=batch.label)
    keys = list(book.submissions)
    for start in range(0, len(keys), PAGE):
        with context.store.read() as tx:
            known = lives.by_key(tx, keys[start : start + PAGE])
        for key in keys[start : start + PAGE]:
            told = book.submissions[key]
            if key not in known and told.may_be_charged:
                finding = Finding(Kind.ORPHANED, "idempotency_key", None, key)
                report.found.append(
                    Difference(0, told.row_key, told.generation, told.task_id, finding)
                )
