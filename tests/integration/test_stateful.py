"""Store and domain against a model provider, with anything going wrong between any two steps.

The model charges once for each key that it remembers, and forgets keys after a day; so a key that
is sent again too late, or a second key for one purchase, shows as a second charge.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain.account import Account, Accounts
from orchestrator.domain.batch import Wanted
from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    AskLater,
    Detail,
    Gated,
    GateReason,
    Lost,
    NotFound,
    NothingCharged,
    NotSent,
    PollOutcome,
    Rejected,
    SubmitOutcome,
    Task,
    TaskStatus,
)
from orchestrator.domain.states import IN_FLIGHT, TERMINAL, State
from orchestrator.domain.submission import Policy
from orchestrator.journal import JournalWriter, read_batch
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
from orchestrator.services.recording import Polled, Recorder, Sent
from orchestrator.services.submission import ClaimedChunk
from orchestrator.store import batches, steering, workers
from orchestrator.store import tables as t
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.migrated import migrated

PRICE = parse_amount("0.0414")
DAY = 86_400_000
EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "30"))
STEPS = int(os.environ.get("STATEFUL_STEPS", "40"))


@dataclass
class Made:
    """A task of the model provider."""

    id: str
    status: TaskStatus = TaskStatus.QUEUED
    charges: int = 1
    charged_at: int = 0


@dataclass
class Provider:
    """Charges once for a key that it remembers."""

    tasks: dict[str, Made] = field(default_factory=dict)

    def post(self, key: str, fate: str, now: int) -> SubmitOutcome:
        match fate:
            case "429":
                return NothingCharged(Detail(), GateReason.RATE_LIMITED, 1.0)
            case "422":
                return Rejected(Detail(code="bad"))
            case "402":
                return Gated(GateReason.PAYMENT_REQUIRED, Detail(status=402))
            case "409":
                return Ambiguous(Lost.CONFLICT, Detail())
            case "lost before":
                return Ambiguous(Lost.CONNECTION, Detail())
        made = self.tasks.get(key)
        if made is None:
            made = self.tasks[key] = Made(f"task-{len(self.tasks)}", charged_at=now)
        elif now - made.charged_at > DAY:
            made.charges += 1
        if fate == "lost after":
            return Ambiguous(Lost.TIMEOUT, Detail())
        return Accepted(self._shown(made))

    def get(self, task_id: str, fate: str) -> PollOutcome:
        if fate == "later":
            return AskLater(Detail(), None, 2.0)
        if fate == "404":
            return NotFound(Detail())
        return Accepted(self._shown(next(m for m in self.tasks.values() if m.id == task_id)))

    @staticmethod
    def _shown(made: Made) -> Task:
        ended = made.status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
        return Task(
            made.id,
            made.status,
            str(made.status),
            cost_estimate=PRICE,
            cost_actual=PRICE if ended else None,
            videos=("https://x/1.mp4",) if made.status is TaskStatus.SUCCEEDED else (),
        )


@dataclass
class Work:
    """What one worker has in its memory."""

    desk: Desk
    recorder: Recorder
    held: ClaimedChunk
    unsent: list[int]
    answers: list[tuple[int, Sent]] = field(default_factory=list)


FATES = st.sampled_from(["ok", "ok", "ok", "lost after", "lost before", "429", "422", "402", "409"])
INDEX = st.integers(0, 50)


class Buying(RuleBasedStateMachine):
    """Everything that may happen to a batch."""

    @initialize(rows=st.integers(1, 6), budget=st.none() | st.integers(1, 4))
    def begin(self, rows: int, budget: int | None) -> None:
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="stateful-", dir=fast))
        self.now = 1_800_000_000_000
        self.provider = Provider()
        self.store = Store(migrated(self.folder / "s.db"), clock=lambda: self.now)
        self.context = Context(
            store=self.store,
            provider="http://p",
            accounts=Accounts((Account("default", "acc"),)),
            namespace="",
            actor="tester",
            policy=Policy(deadline=3_600_000, retention=DAY),
            timing=Timing(request=5_000, chunk_size=4),
            presence=self.folder / "processes",
        )
        self.context.presence.mkdir()
        self.messages: list[Chunk] = []
        self.polls: list[str] = []
        self.works: list[Work] = []
        self.ended: dict[int, dict[str, Any]] = {}
        self.rows = rows
        self.edits = Counter[int]()
        self.budget = None if budget is None else budget * PRICE.nanos
        self.journal = JournalWriter(self.folder / "journal")
        self.submit()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.heal()
            self.journal.close()
            self.store.close()
            shutil.rmtree(self.folder)

    # What a person does.

    def submit(self) -> None:
        spec = self.folder / "b.csv"
        lines = [f"r{i},kite {i} version {self.edits[i]}\n" for i in range(self.rows)]
        spec.write_text("id,prompt\n" + "".join(lines))
        options = intake.Options("b", "default", budget_nanos=self.budget)
        taken = intake.take_in(
            self.context, spec, options=lambda _s: options, confirm=lambda _p: True
        )
        self.batch = taken.batch

    @rule(more=st.booleans(), edited=INDEX)
    def submit_again(self, more: bool, edited: int) -> None:
        self.rows += more
        if not more:
            self.edits[edited % self.rows] += 1
        self.submit()

    @rule(wanted=st.sampled_from([Wanted.OPEN, Wanted.OPEN, Wanted.PAUSED]))
    def steer(self, wanted: Wanted) -> None:
        with self.store.write() as tx:
            batches.lock(tx, self.batch.id)
            steering.want(tx, self.batch.id, wanted, actor="tester")

    @rule()
    def retry_failed(self) -> None:
        with self.store.write() as tx:
            found, _ = steering.retryable(tx, self.batch.id, codes=[], rows=[], max_generations=3)
            ids = [item_id for group in found.values() for item_id in group]
            steering.retry(tx, self.batch.id, ids, actor="tester")

    # What the ticks do.

    @rule()
    def dispatch_tick(self) -> None:
        with self.store.write() as tx:
            workers.seen(tx, "w", processes=2, submits=True)
        dispatch.run_once(self.context, self.messages.append)

    @rule()
    def poll_tick(self) -> None:
        polling.run_once(self.context, lambda token, *_: self.polls.append(token))

    @rule()
    def rescue_tick(self) -> None:
        rescue.run_once(self.context)

    @rule()
    def finish_tick(self) -> None:
        finishing.run_once(self.context)

    @rule()
    def open_gates(self) -> None:
        with self.store.write() as tx:
            gatekeeping.open_all(tx, self.context, "acc")

    # What workers do, each step by itself.

    def desk(self) -> Desk:
        owner = uuid.uuid4().hex
        return Desk(
            context=self.context,
            account="acc",
            owner=owner,
            client=cast(Any, None),
            limiter=cast(Any, None),
            journal=self.journal,
            wall=lambda: self.now / 1000,
            monotonic=lambda: self.now / 1000,
            jitter=lambda: 0.5,
            turn=cast(Any, None),
        )

    @precondition(lambda self: self.messages)
    @rule(index=INDEX, again=st.booleans())
    def claim(self, index: int, again: bool) -> None:
        chunk = self.messages[index % len(self.messages)]
        if not again:
            self.messages.remove(chunk)
        desk = self.desk()
        held = submission.claim_chunk(desk, chunk.id, chunk.item_ids, probe=chunk.probe)
        if held is None or not held.claims:
            return
        submission._journal_intents(desk, held)
        stored = [one.stored for one in held.claims]
        recorder = Recorder(desk, held.lease.token, stored, now=held.now, probe=chunk.probe)
        self.works.append(Work(desk, recorder, held, [one.id for one in stored]))

    @precondition(lambda self: any(work.unsent for work in self.works))
    @rule(index=INDEX, fate=FATES)
    def post(self, index: int, fate: str) -> None:
        ready = [work for work in self.works if work.unsent]
        work = ready[index % len(ready)]
        submission_id = work.unsent.pop(0)
        claimed = next(one for one in work.held.claims if one.stored.id == submission_id)
        late = submission._too_late(work.desk, work.held, claimed)
        outcome: SubmitOutcome | NotSent = NotSent(late) if late else NotSent("")
        if not late:
            outcome = self.provider.post(claimed.stored.idempotency_key, fate, self.now)
        work.answers.append((submission_id, Sent(outcome)))

    @precondition(lambda self: any(work.answers for work in self.works))
    @rule(index=INDEX)
    def record(self, index: int) -> None:
        ready = [work for work in self.works if work.answers]
        work = ready[index % len(ready)]
        work.recorder._write(work.answers)
        work.answers = []
        if not work.unsent:
            self.works.remove(work)

    @precondition(lambda self: self.works)
    @rule(index=INDEX, seen=st.booleans())
    def die(self, index: int, seen: bool) -> None:
        """The worker's memory is gone; `seen`: its machine notices at once."""
        work = self.works.pop(index % len(self.works))
        if seen:
            (self.context.presence / f"{work.desk.owner}.lock").touch()

    @precondition(lambda self: self.polls)
    @rule(
        index=INDEX, fate=st.sampled_from(["ok", "ok", "later", "404", "die"]), again=st.booleans()
    )
    def poll(self, index: int, fate: str, again: bool) -> None:
        token = self.polls[index % len(self.polls)]
        if not again:
            self.polls.remove(token)
        desk = self.desk()
        held, now, *_ = polling._held(desk, token)
        if fate == "die":
            (self.context.presence / f"{desk.owner}.lock").touch()
            return
        recorder = Recorder(desk, token, held, now=now)
        if held:
            recorder._write(
                [(s.id, Polled(self.provider.get(s.life.task_id or "", fate))) for s in held]
            )

    # What the world does.

    @rule(seconds=st.sampled_from([1, 5, 30, 90, 400, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(index=INDEX, good=st.booleans())
    def task_ends(self, index: int, good: bool) -> None:
        running = [m for m in self.provider.tasks.values() if m.status is TaskStatus.QUEUED]
        if running:
            made = running[index % len(running)]
            made.status = TaskStatus.SUCCEEDED if good else TaskStatus.FAILED

    @rule()
    def messages_are_lost(self) -> None:
        self.messages.clear()
        self.polls.clear()

    # What must always hold.

    def submissions(self) -> list[dict[str, Any]]:
        with self.store.read() as tx:
            return [dict(row._mapping) for row in tx.conn.execute(t.submissions.select())]

    def items(self) -> list[dict[str, Any]]:
        with self.store.read() as tx:
            rows = tx.conn.execute(t.items.select().order_by(t.items.c.id))
            return [dict(row._mapping) for row in rows]

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        assert all(made.charges == 1 for made in self.provider.tasks.values())

    @invariant()
    def what_was_charged_is_never_taken_for_unsent(self) -> None:
        found = {row["idempotency_key"]: row for row in self.submissions()}
        for key in self.provider.tasks:
            assert found[key]["state"] != State.PENDING
            if found[key]["state"] in IN_FLIGHT:
                assert found[key]["first_sent_at"] is not None

    @invariant()
    def money_adds_up_and_stays_in_the_budget(self) -> None:
        with self.store.read() as tx:
            batch = batches.get(tx, self.batch.id)
        rows = self.submissions()
        for kind in ("actual", "assumed", "estimate"):
            total = sum(row[f"{kind}_nanos"] or 0 for row in rows)
            assert total == getattr(
                batch, f"{kind}d_nanos" if kind == "estimate" else f"{kind}_nanos"
            )
        assert sum(row["hold_nanos"] for row in rows) == batch.held_nanos
        if batch.budget_nanos is not None:
            spent = batch.held_nanos + batch.actual_nanos + batch.assumed_nanos
            assert spent <= batch.budget_nanos

    @invariant()
    def ends_are_final(self) -> None:
        for row in self.submissions():
            if row["state"] in TERMINAL:
                kept = {name: row[name] for name in ("state", "actual_nanos", "task_id")}
                assert self.ended.setdefault(row["id"], kept) == kept

    @invariant()
    def items_say_what_their_submissions_say(self) -> None:
        speaking = {row["id"]: row for row in self.submissions()}
        for item in self.items():
            if item["submission_id"] is not None and item["state"] != State.WITHDRAWN:
                assert item["state"] == speaking[item["submission_id"]]["state"]

    def heal(self) -> None:
        """No more faults: everything comes to its end."""
        self.works.clear()
        if self.budget is not None:
            self.budget = 10**12
        self.submit()
        self.steer(Wanted.OPEN)
        for turn in range(60):
            self.turns = turn
            self.now += 400_000
            self.open_gates()
            self.rescue_tick()
            self.dispatch_tick()
            while self.messages:
                self.claim(0, again=False)
            while any(work.unsent for work in self.works):
                self.post(0, "ok")
            while self.works:
                self.record(0)
            for made in self.provider.tasks.values():
                if made.status is TaskStatus.QUEUED:
                    made.status = TaskStatus.SUCCEEDED
            self.poll_tick()
            while self.polls:
                self.poll(0, "ok", again=False)
            self.finish_tick()
            open_items = [i for i in self.items() if i["state"] not in TERMINAL]
            asked = {s["id"] for s in self.submissions() if s["needs_person"]}
            if all(item["submission_id"] in asked for item in open_items):
                break
        self.judge()

    def judge(self) -> None:
        rows = self.submissions()
        waiting = [row for row in rows if row["needs_person"] and row["state"] not in TERMINAL]
        for item in self.items():
            settled = item["state"] in TERMINAL
            assert settled or item["submission_id"] in {row["id"] for row in waiting}, item
        paid = sum(row["actual_nanos"] or 0 for row in rows)
        known = {row["idempotency_key"] for row in rows if row["actual_nanos"] is not None}
        assert paid == PRICE.nanos * len(known)
        lost = {row["idempotency_key"] for row in waiting}
        assert set(self.provider.tasks) <= known | lost
        with self.store.read() as tx:
            batch = batches.get(tx, self.batch.id)
        assert batch.held_nanos == sum(row["hold_nanos"] for row in waiting)
        book = read_batch([self.folder / "journal"], namespace="", name="b", label="default")
        assert set(self.provider.tasks) <= set(book.submissions)
        assert not book.damage


pytestmark = pytest.mark.timeout(600)
TestBuying = Buying.TestCase
TestBuying.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    # To explain a failure, every line would be traced: far slower than to look at its steps.
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)


def test_a_hold_that_waits_for_a_person_keeps_no_other_row_waiting() -> None:
    """A probe of an unknown price, whose answer was lost for longer than keys are remembered."""
    machine = Buying()
    machine.begin(rows=6, budget=1)
    machine.dispatch_tick()
    machine.claim(0, again=False)
    machine.post(0, "lost after")
    machine.time_passes(90_000)
    machine.teardown()


def test_a_lost_answer_is_asked_again_before_rows_that_the_budget_bars() -> None:
    machine = Buying()
    machine.begin(rows=2, budget=1)
    machine.dispatch_tick()
    machine.claim(0, again=False)
    machine.teardown()
