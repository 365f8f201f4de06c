"""A store with a batch in it, and submissions brought to where a test wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    Detail,
    Lost,
    NothingCharged,
    NotSent,
    Rejected,
    SubmitOutcome,
    Task,
    TaskStatus,
)
from orchestrator.domain.states import State
from orchestrator.domain.submission import (
    Decision,
    NeedsPerson,
    Policy,
    after_poll,
    after_submit,
)
from orchestrator.store import batches, claims, intake, lives, prices, views
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Store
from orchestrator.store.intake import Staged
from orchestrator.store.lives import Lease, Stored

PRICE = parse_amount("0.0414")
POLICY = Policy(deadline=3_600_000, retention=86_400_000)
PROVIDER = "http://provider/api/v1"
LOST = Ambiguous(Lost.TIMEOUT, Detail(message="no answer"))
COST_NOTHING = NothingCharged(Detail(message="later"))
REJECTED = Rejected(Detail(message="bad prompt"))


class Clock:
    """The database's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


def accepted(
    status: TaskStatus = TaskStatus.QUEUED,
    *,
    actual: str | None = None,
    videos: Sequence[str] = (),
    task_id: str = "task_1",
    code: str | None = None,
) -> Accepted:
    cost = parse_amount(actual) if actual else None
    error = Detail(code=code) if code else None
    return Accepted(
        Task(task_id, status, str(status), "req", PRICE, cost, None, tuple(videos), error)
    )


def row(row_key: str, price_class: str = "std", text: str | None = None) -> Staged:
    input_json = f'{{"prompt":"{text or row_key}"}}'
    digest = hashlib.sha256(input_json.encode()).hexdigest()
    return Staged(row_key, digest, "kling-v2-6", price_class, input_json, '{"prompt": "x"}')


@dataclass
class Shelf:
    """One published batch, its rows known by their keys."""

    store: Store
    clock: Clock
    name: str = "b"

    def __post_init__(self) -> None:
        with self.store.write() as tx:
            made = batches.create(
                tx,
                name=self.name,
                label="default",
                namespace="",
                key_version=1,
                provider=PROVIDER,
                budget_nanos=None,
            )
            assert made is not None
            self.batch_id = made.id
            prices.learn(tx, PROVIDER, {"std": PRICE})
        self._tokens = 0

    def publish(self, *rows: str | Staged) -> None:
        staged = [one if isinstance(one, Staged) else row(one) for one in rows]
        with self.store.write() as tx:
            before = batches.get(tx, self.batch_id)
            revision = intake.begin(tx, self.batch_id, source="a.csv", actor="me")
            intake.stage(
                tx,
                self.batch_id,
                revision,
                staged,
                after_position=intake.last_position(tx, self.batch_id),
                compare=before.published_at is not None,
            )
            intake.publish(
                tx,
                self.batch_id,
                revision,
                rows=len(staged),
                columns=["prompt"],
                prune=False,
                resend_changed=False,
                actor="me",
            )

    @property
    def batch(self) -> Batch:
        with self.store.read() as tx:
            return batches.get(tx, self.batch_id)

    def claim(self, *row_keys: str, account: str = "acc") -> dict[str, Stored]:
        """Row key -> its submission, leased now; backoffs are over."""
        made = self.offer(*row_keys, account=account)
        assert sorted(made) == sorted(row_keys)
        return made

    def offer(self, *row_keys: str, account: str = "acc") -> dict[str, Stored]:
        """As `claim`, of rows that need not all be let go."""
        self.clock.now += 600_000
        self._tokens += 1
        with self.store.write() as tx:
            ids = [one.item_id for one in claims.next_items(tx, self.batch_id, 100)]
            wanted = [one for one in claims.candidates(tx, ids) if one.row_key in row_keys]
            made = claims.claim_items(
                tx,
                batches.lock(tx, self.batch_id),
                wanted,
                {one.item_id: f"{one.row_key}/{one.generation}" for one in wanted},
                prices=prices.known(tx, PROVIDER),
                lease=Lease(f"t{self._tokens}", tx.now + 60_000, "w"),
                account=account,
                policy=POLICY,
                room=None,
                actor="me",
            )
        return {one.item.row_key: one.stored for one in made}

    def answer(self, held: Stored, outcome: SubmitOutcome | NotSent) -> Stored:
        """Record the answer to a POST."""
        decision = after_submit(
            held.life,
            outcome,
            now=self.clock.now,
            policy=POLICY,
            jitter=0.5,
            others_passed=False,
        )
        return self.record(held, decision)

    def buy(self, row_key: str, outcome: SubmitOutcome | NotSent, **given: str) -> Stored:
        return self.answer(self.claim(row_key, **given)[row_key], outcome)

    def poll(self, stored: Stored, outcome: Accepted) -> Stored:
        """Record the answer to a GET."""
        now = self.clock.now
        return self.record(
            stored, after_poll(stored.life, outcome, now=now, policy=POLICY, jitter=0.5)
        )

    def record(self, stored: Stored, decision: Decision) -> Stored:
        with self.store.write() as tx:
            lives.record(tx, [(stored, decision)], actor="me")
        return self.stored(stored.idempotency_key)

    def flag(self, stored: Stored, code: NeedsPerson) -> Stored:
        """Have it wait for a person."""
        return self.record(
            stored, Decision(stored.life._replace(needs_person=code), None, "a person must look")
        )

    def stored(self, key: str) -> Stored:
        with self.store.read() as tx:
            return lives.by_key(tx, [key])[key]

    def item(self, row_key: str) -> views.Result:
        with self.store.read() as tx:
            (found,) = views.result_of(tx, self.batch_id, row_key)
        return found

    def states(self) -> dict[str, State]:
        with self.store.read() as tx:
            return {one.row_key: one.state for one in views.results(tx, self.batch_id)}

    def events(self, row_key: str) -> list[str]:
        """What happened to a row after it was submitted."""
        item_id = self.item(row_key).item_id
        with self.store.read() as tx:
            return [line.event for line in views.history_of(tx, item_id)][1:]

    def money_adds_up(self) -> bool:
        """Whether the batch's counters are the sums over its submissions."""
        s = t.submissions.c
        columns = [s.hold_nanos, s.estimate_nanos, s.actual_nanos, s.assumed_nanos]
        query = select(*(func.coalesce(func.sum(column), 0) for column in columns))
        with self.store.read() as tx:
            summed = tx.conn.execute(query.where(s.batch_id == self.batch_id)).one()
        kept = self.batch
        return tuple(map(int, summed)) == (
            kept.held_nanos,
            kept.estimated_nanos,
            kept.actual_nanos,
            kept.assumed_nanos,
        )
