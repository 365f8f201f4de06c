"""Recording answers as they arrive, in small groups: journal first, then the database.

A group is what came within a moment of its first answer, so one hung request never keeps its
neighbours' answers waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from orchestrator.domain.batch import Stop
from orchestrator.domain.money import to_usd_or_none
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    Gated,
    GateReason,
    NothingCharged,
    NotSent,
    PollOutcome,
    Rejected,
    SubmitOutcome,
)
from orchestrator.domain.states import TERMINAL, State
from orchestrator.domain.submission import (
    Decision,
    GateOrder,
    Policy,
    after_poll,
    after_submit,
    span_of,
)
from orchestrator.journal import Outcome, OutcomeKind, Record, Terminal
from orchestrator.services import capping, gatekeeping, telling, tracing
from orchestrator.services.desk import Desk
from orchestrator.store import batches, failures, gates, lives, prices, sketches, steering
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Stored

MOMENT_SECONDS = 0.3
SHORT_MOMENT_SECONDS = 0.1
"""The same for ends that others wait for, since only so many may be in flight."""
RETRY_SECONDS = 0.5
"""Between two tries to commit while the database is away."""
_BAD_ENDS = frozenset({State.FAILED, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer to a POST, or why there was none; `trips` where it completed a run of failures."""

    outcome: SubmitOutcome | NotSent
    trips: GateOrder | None = None
    full: bool = False
    """As many tasks were in flight as the provider is known to take."""


@dataclass(frozen=True, slots=True)
class Polled:
    """An answer to a GET."""

    outcome: PollOutcome


Answer = Sent | Polled
Decided = tuple[Stored, Decision, Answer]


class Recorder:
    """Collects one chunk's answers and writes them in groups under the chunk's lease; runs once.

    `held` are the submissions as they were read under that lease, at `now` by the database's clock.
    """

    def __init__(
        self,
        desk: Desk,
        token: str,
        held: Iterable[Stored],
        *,
        now: int,
        probe: bool = False,
        moment: float = MOMENT_SECONDS,
    ) -> None:
        self._desk = desk
        self._token = token
        self._held = {stored.id: stored for stored in held}
        self._now = now
        self._started = desk.monotonic()
        self._probe = probe
        self._moment = moment
        self._arrived: list[tuple[int, Answer]] = []
        self._some = asyncio.Event()
        """There are arrived ones, or there will be no more."""
        self._ended = asyncio.Event()
        self._journalled: list[Decided] | None = None
        self.recorded = 0
        self.states: Counter[str] = Counter()
        """State -> how many of the answers have brought their submission there."""
        self.times: dict[int, tuple[float, float]] = {}
        """Submission -> when its request left and its answer came, by the wall clock in seconds."""
        self.freed: asyncio.Queue[bool] = asyncio.Queue()
        """True for each group with tasks that have ended; False when all is recorded."""
        self.shut = 0.0
        """Seconds for which a refusal of a task too many closes the gate."""
        self.stalled = False
        """What was answered cannot be recorded now: nothing more may be sent."""

    def put(self, submission_id: int, answer: Answer) -> None:
        self._arrived.append((submission_id, answer))
        self._some.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write groups while the block runs; at its end everything put is recorded."""
        writer = asyncio.create_task(self._write_groups())
        try:
            yield
        finally:
            self._ended.set()
            self._some.set()
            try:
                await writer
            finally:
                self.freed.put_nowait(False)

    async def _write_groups(self) -> None:
        done = False
        while not done:
            group, done = await self._next_group()
            if group:
                kept = await self._write_out(group)
                self.recorded += len(kept)
                self.states.update(str(decision.after.state) for _, decision, _ in kept)
                if any(
                    decision.event and decision.after.state in TERMINAL for _, decision, _ in kept
                ):
                    self.freed.put_nowait(True)
                for full in (False, True):
                    orders = [d.gate for _, d, a in kept if d.gate and _full(a) is full]
                    await gatekeeping.mirror(self._desk, orders, asks=not full)
                    if full:
                        self.shut = max([self.shut, *(order.seconds or 0.0 for order in orders)])
                await telling.tell(self._desk.context, kept)
                sent = any(isinstance(answer, Sent) for _, _, answer in kept)
                now = self._desk.wall()
                await tracing.recorded(self._desk.context, kept, self.times, now=now, sent=sent)
                await self._ask_why([pair[:2] for pair in kept])

    async def _next_group(self) -> tuple[list[tuple[int, Answer]], bool]:
        """The next answer and what follows it within a moment; True at the end."""
        await self._some.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._moment):
                await self._ended.wait()
        self._some.clear()
        group, self._arrived = self._arrived, []
        return group, self._ended.is_set()

    async def _write_out(self, group: Sequence[tuple[int, Answer]]) -> list[Decided]:
        """Record a group, however long the database is away, as long as the lease may hold."""
        while True:
            try:
                kept = await asyncio.to_thread(self._write, group)
            except BaseException as error:
                self.stalled = True
                elapsed = self._desk.monotonic() - self._started
                lost = elapsed * 1000 > self._desk.context.timing.lease
                if lost or not failures.passes(error):
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.stalled = False
                return kept

    def _write(self, group: Sequence[tuple[int, Answer]]) -> list[Decided]:
        """Journal and commit one group; answers whose lease was lost are dropped.

        Called again for the same group it only commits: the journal has it already.
        """
        desk = self._desk
        if self._journalled is None:
            self._journalled = self._journal(group)
        decided = self._journalled
        with desk.context.store.write() as tx:
            ours = lives.still_leased(tx, self._token, [stored.id for stored, _, _ in decided])
            kept = [entry for entry in decided if entry[0].id in ours]
            lives.record(tx, [entry[:2] for entry in kept], actor=desk.context.actor)
            self._follow(tx, kept)
        if len(kept) < len(decided):
            desk.unrecorded.set()
        self._journalled = None
        return kept

    def _journal(self, group: Sequence[tuple[int, Answer]]) -> list[Decided]:
        """Decide what each answer means, and have it on the disk."""
        desk = self._desk
        now = self._now + round((desk.monotonic() - self._started) * 1000)
        passed = self._last_accepted(group)
        policies = self._policies()
        decided = [
            (stored, self._decide(stored, answer, now, passed, policies), answer)
            for stored, answer in ((self._held[key], answer) for key, answer in group)
        ]
        desk.journal.append([record for entry in decided for record in _records(now, *entry)])
        return decided

    def _policies(self) -> Mapping[str, Policy]:
        """Price class -> the policy with its plan, where it has one."""
        desk = self._desk
        plans = desk.plans.current(desk.context, desk.monotonic())
        return {name: replace(desk.context.policy, plan=plan) for name, plan in plans.items()}

    def _last_accepted(self, group: Sequence[tuple[int, Answer]]) -> int | None:
        """When the account last bought something; only a row that meets a gate again asks."""
        if not any(
            isinstance(answer.outcome, Gated) and self._held[key].life.gated_at is not None
            for key, answer in group
        ):
            return None
        context = self._desk.context
        with context.store.read() as tx:
            return gates.last_accepted(tx, context.provider, self._desk.account)

    def _decide(
        self,
        stored: Stored,
        answer: Answer,
        now: int,
        passed: int | None,
        policies: Mapping[str, Policy],
    ) -> Decision:
        policy = policies.get(stored.price_class, self._desk.context.policy)
        jitter = self._desk.jitter()
        match answer:
            case Polled(outcome):
                return after_poll(stored.life, outcome, now=now, policy=policy, jitter=jitter)
            case Sent(outcome):
                gated_at = stored.life.gated_at
                return after_submit(
                    stored.life,
                    outcome,
                    now=now,
                    policy=policy,
                    jitter=jitter,
                    others_passed=None not in (passed, gated_at)
                    and (passed or 0) > (gated_at or 0),
                )

    def _follow(self, tx: Tx, kept: Sequence[Decided]) -> None:
        """What the group means beyond its rows: prices, gates, stops, the account's standing."""
        context, account = self._desk.context, self._desk.account
        learned = {
            stored.price_class: decision.price for stored, decision, _ in kept if decision.price
        }
        prices.learn(tx, context.provider, learned)
        ended = [(s.price_class, span_of(s.life, d.after)) for s, d, _ in kept if d.event]
        sketches.append(tx, context.provider, [(name, span) for name, span in ended if span])
        for stored, decision, _ in kept:
            if decision.stop:
                batches.stop(
                    tx, stored.batch_id, Stop.COST_UNREADABLE, decision.stop, actor=context.actor
                )
        if any(isinstance(answer, Sent) and _accepted(answer) for _, _, answer in kept):
            gates.note_accepted(tx, context.provider, account)
            if self._probe:
                gatekeeping.open_all(tx, context, account)
        orders = {d.gate.reason: d.gate for _, d, _ in kept if d.gate}
        orders |= {a.trips.reason: a.trips for _, _, a in kept if isinstance(a, Sent) and a.trips}
        for order in orders.values():
            gatekeeping.close(tx, context, account, order)
        capping.note(tx, context, account, [s for s, _, answer in kept if _too_many(answer)])
        self._buy_anew(tx, kept)

    def _buy_anew(self, tx: Tx, kept: Sequence[Decided]) -> None:
        """The spec's `retries`: what the provider reported as failed gets another generation."""
        failed: defaultdict[int, list[Stored]] = defaultdict(list)
        for stored, decision, _ in kept:
            if decision.event and decision.after.state is State.FAILED:
                failed[stored.batch_id].append(stored)
        for batch_id, submissions in sorted(failed.items()):
            retries = batches.get(tx, batch_id).retries
            again = [one.item_id for one in submissions if one.generation < retries]
            steering.retry(tx, batch_id, again, actor=self._desk.context.actor)

    async def _ask_why(self, kept: Sequence[tuple[Stored, Decision]]) -> None:
        """One look at the events of each task that ended badly; kept raw."""
        for stored, decision in kept:
            task_id = decision.after.task_id
            if decision.event and decision.after.state in _BAD_ENDS and task_id:
                raw = await self._desk.client.events(task_id)
                if raw is not None:
                    await asyncio.to_thread(self._keep_events, stored.id, raw)

    def _keep_events(self, submission_id: int, raw: str) -> None:
        with self._desk.context.store.write() as tx:
            lives.keep_events(tx, submission_id, raw)


def _accepted(answer: Answer) -> bool:
    return isinstance(answer.outcome, Accepted)


def _full(answer: Answer) -> bool:
    """Whether that was one task too many, and no request too many: polls need not stop."""
    return isinstance(answer, Sent) and answer.full and _too_many(answer)


def _too_many(answer: Answer) -> bool:
    """Whether a purchase was refused with a 429."""
    outcome = answer.outcome
    return isinstance(outcome, NothingCharged) and outcome.gate is GateReason.RATE_LIMITED


def _kind(outcome: SubmitOutcome | NotSent) -> OutcomeKind:
    match outcome:
        case Accepted():
            return OutcomeKind.ACCEPTED
        case Rejected():
            return OutcomeKind.REJECTED
        case NothingCharged():
            return OutcomeKind.NOTHING_CHARGED
        case Gated():
            return OutcomeKind.GATED
        case Ambiguous():
            return OutcomeKind.AMBIGUOUS
        case NotSent():
            return OutcomeKind.NOT_SENT


def _records(now: int, stored: Stored, decision: Decision, answer: Answer) -> Iterator[Record]:
    """The journal's lines for one answer: what a POST came to, and a task's end."""
    after = decision.after
    if isinstance(answer, Sent):
        yield Outcome(
            at=now,
            idempotency_key=stored.idempotency_key,
            generation=stored.generation,
            kind=_kind(answer.outcome),
            try_=stored.life.tries,
            claim=stored.lease_token or "",
            state=after.state,
            task_id=after.task_id,
            request_id=after.request_id,
            cost_estimate=after.estimate_text,
        )
    if decision.event and after.state in TERMINAL and after.task_id:
        yield Terminal(
            at=now,
            idempotency_key=stored.idempotency_key,
            task_id=after.task_id,
            state=after.state,
            cost_actual=after.actual_text,
            cost_assumed=to_usd_or_none(after.assumed_nanos),
            videos=decision.videos,
            error_code=after.error_code,
            error_message=after.error_message,
        )
