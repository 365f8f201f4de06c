"""What the store promises, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

import orchestrator.store as package
from orchestrator.domain.batch import Stop
from orchestrator.domain.identity import idempotency_key_from_json
from orchestrator.domain.in_flight import Room
from orchestrator.domain.money import parse_amount
from orchestrator.domain.outcome import (
    Accepted,
    Ambiguous,
    Detail,
    GateReason,
    Lost,
    Task,
    TaskStatus,
)
from orchestrator.domain.states import State
from orchestrator.domain.submission import Policy, after_poll, after_submit, lapse
from orchestrator.store import (
    batches,
    claims,
    gates,
    intake,
    lives,
    prices,
    schema,
    views,
)
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Claimed
from orchestrator.store.engine import Store
from orchestrator.store.intake import Difference, Staged
from orchestrator.store.lives import Lease
from tests.support.counted import counts as counts_of
from tests.support.migrated import migrated, migrated_on
from tests.support.postgres import postgres_server

PRICE = parse_amount("0.0414")
POLICY = Policy(deadline=3_600_000, retention=86_400_000)
PROVIDER = "http://provider/api/v1"


class Clock:
    """The database's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    if request.param == "sqlite":
        url = migrated(tmp_path / "store.db")
    else:
        url = migrated_on(request.getfixturevalue("postgres"))
    opened = Store(url, clock=clock)
    yield opened
    opened.close()


def row(row_key: str, text: str | None = None) -> Staged:
    input_json = f'{{"prompt":"{text or row_key}"}}'
    digest = hashlib.sha256(input_json.encode()).hexdigest()
    return Staged(row_key, digest, "kling-v2-6", "std", input_json, '{"prompt": "x"}')


def submit(
    store: Store,
    rows: Sequence[Staged],
    *,
    name: str = "b",
    budget: int | None = None,
    publish: bool = True,
    prune: bool = False,
) -> tuple[Batch, Difference]:
    with store.write() as tx:
        batch = batches.find(tx, name, "default") or batches.create(
            tx,
            name=name,
            label="default",
            namespace="",
            key_version=1,
            provider=PROVIDER,
            budget_nanos=budget,
        )
        assert batch is not None
        revision = intake.begin(tx, batch.id, source="a.csv", actor="me")
        intake.stage(
            tx,
            batch.id,
            revision,
            rows,
            after_position=intake.last_position(tx, batch.id),
            compare=batch.published_at is not None,
        )
        difference = intake.difference(tx, batch.id, revision)
        if publish:
            intake.publish(
                tx,
                batch.id,
                revision,
                rows=len(rows),
                columns=["prompt"],
                prune=prune,
                resend_changed=False,
                actor="me",
            )
    with store.read() as tx:
        return batches.get(tx, batch.id), difference


def claim(
    store: Store, batch: Batch, token: str = "t1", *, owner: str = "w", room: int | None = None
) -> list[Claimed]:
    with store.write() as tx:
        ids = [found[0] for found in claims.next_items(tx, batch.id, 100)]
        wanted = claims.candidates(tx, ids)
        locked = batches.lock(tx, batch.id)
        return claims.claim_items(
            tx,
            locked,
            wanted,
            {item.item_id: key_of(locked, item) for item in wanted},
            prices=prices.known(tx, PROVIDER),
            lease=Lease(token, tx.now + 60_000, owner),
            account="acc",
            policy=POLICY,
            room=None if room is None else Room(room),
            actor="me",
        )


def key_of(batch: Batch, item: claims.Candidate) -> str:
    return idempotency_key_from_json(
        key_version=1,
        namespace="",
        batch=batch.name,
        label=batch.label,
        row_key=item.row_key,
        model=item.model,
        input_json=item.input_json,
        generation=item.generation,
    )


def task(status: TaskStatus, *, actual: str | None = None, videos: Sequence[str] = ()) -> Task:
    cost = parse_amount(actual) if actual else None
    return Task("task_1", status, str(status), "req", PRICE, cost, None, tuple(videos))


def answer(store: Store, held: Sequence[Claimed], outcome: object, token: str = "t1") -> int:
    """Record the same outcome for each submission, through the fence."""
    with store.write() as tx:
        ours = lives.still_leased(tx, token, [one.stored.id for one in held])
        decided = [
            (
                one.stored,
                after_submit(
                    one.stored.life,
                    outcome,  # type: ignore[arg-type]
                    now=tx.now,
                    policy=POLICY,
                    jitter=0.5,
                    others_passed=False,
                ),
            )
            for one in held
            if one.stored.id in ours
        ]
        lives.record(tx, decided, actor="me")
    return len(decided)


def counts(store: Store, batch: Batch) -> dict[State, int]:
    with store.read() as tx:
        return {state: n for state, n in counts_of(tx, batch.id).items() if n}


def money(store: Store, batch: Batch) -> tuple[int, int, int, int]:
    """The batch's counters, after checking them against the submissions they add up."""
    with store.read() as tx:
        found = batches.get(tx, batch.id)
        s = t.submissions.c
        query = select(
            func.coalesce(func.sum(s.hold_nanos), 0),
            func.coalesce(func.sum(s.estimate_nanos), 0),
            func.coalesce(func.sum(s.actual_nanos), 0),
            func.coalesce(func.sum(s.assumed_nanos), 0),
        ).where(s.batch_id == batch.id)
        summed = tuple(int(value) for value in tx.conn.execute(query).one())
    kept = (found.held_nanos, found.estimated_nanos, found.actual_nanos, found.assumed_nanos)
    assert kept == summed
    return kept


def test_migrations_and_tables_agree(store: Store) -> None:
    with store.write() as tx:
        context = MigrationContext.configure(tx.conn, opts={"compare_type": True})
        assert compare_metadata(context, t.METADATA) == []
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == t.SCHEMA
    assert schema.upgrade(store) == (t.SCHEMA, t.SCHEMA)


def test_nothing_counts_before_it_is_published(store: Store) -> None:
    batch, _ = submit(store, [row("a"), row("b")], publish=False)
    assert counts(store, batch) == {}
    assert claim(store, batch) == []
    with store.write() as tx:
        intake.sweep(tx, batch.id)
        intake.forget_unpublished(tx, batch.id)
        assert batches.find(tx, "b", "default") is None


def test_the_same_rows_again_in_another_order_are_known(store: Store) -> None:
    batch, first = submit(store, [row("a"), row("b"), row("c")])
    assert (first.added, first.known) == (3, 0)
    batch, again = submit(store, [row("c"), row("a"), row("b"), row("d")])
    assert (again.added, again.known, again.changed, again.removed) == (1, 3, 0, 0)
    assert counts(store, batch) == {State.PENDING: 4}


def test_an_edited_row_replaces_its_pending_version_and_back(store: Store) -> None:
    submit(store, [row("a", "first"), row("b")])
    batch, edited = submit(store, [row("a", "second"), row("b")])
    assert (edited.changed, edited.known, edited.changed_sent) == (1, 1, 0)
    assert counts(store, batch) == {State.PENDING: 2, State.WITHDRAWN: 1}
    batch, back = submit(store, [row("a", "first"), row("b")])
    assert back.revived == 1
    assert counts(store, batch) == {State.PENDING: 2, State.WITHDRAWN: 1}


def test_an_edit_of_a_sent_row_buys_nothing(store: Store) -> None:
    batch, _ = submit(store, [row("a", "first")])
    claim(store, batch)
    batch, edited = submit(store, [row("a", "second")])
    assert (edited.changed, edited.changed_sent) == (1, 1)
    assert counts(store, batch) == {State.SUBMITTING: 1}


def test_bad_rows_make_room_and_are_never_sent(store: Store) -> None:
    bad = replace(row("a", "bad"), invalid="duration 7: must be 5 or 10.", price_class="")
    batch, told = submit(store, [bad, row("b")])
    assert (told.added, told.invalid, told.price_classes) == (1, 1, {"std": 1})
    assert counts(store, batch) == {State.PENDING: 1, State.INVALID: 1}
    claim(store, batch)
    assert counts(store, batch) == {State.SUBMITTING: 1, State.INVALID: 1}
    batch, told = submit(store, [bad, row("b")])
    assert (told.known, told.invalid, told.removed) == (1, 1, 0)
    batch, told = submit(store, [row("a"), replace(bad, row_key="b")])
    assert (told.added, told.changed, told.invalid, told.removed) == (1, 0, 1, 0)
    # What was sent of `b` speaks for it; the edit that broke it is not carried along.
    assert counts(store, batch) == {State.PENDING: 1, State.SUBMITTING: 1}


def test_removed_rows_are_pruned_only_on_request(store: Store) -> None:
    submit(store, [row("a"), row("b")])
    batch, kept = submit(store, [row("a")])
    assert (kept.removed, kept.removed_pending) == (1, 1)
    assert counts(store, batch) == {State.PENDING: 2}
    batch, _ = submit(store, [row("a")], prune=True)
    assert counts(store, batch) == {State.PENDING: 1, State.WITHDRAWN: 1}


def test_a_claim_holds_and_an_end_settles(store: Store) -> None:
    batch, _ = submit(store, [row("a"), row("b")], budget=10 * PRICE.nanos)
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
    held = claim(store, batch)
    assert money(store, batch) == (2 * PRICE.nanos, 0, 0, 0)
    assert claim(store, batch, "t2") == []
    answer(store, held, Accepted(task(TaskStatus.SUCCEEDED, actual="0.0414", videos=["u", "v"])))
    assert money(store, batch) == (0, 2 * PRICE.nanos, 2 * PRICE.nanos, 0)
    assert counts(store, batch) == {State.SUCCEEDED: 2}
    with store.write() as tx:
        assert [found.video_urls for found in views.results(tx, batch.id)] == [("u", "v")] * 2
        assert [one.id for one in batches.finish_ended(tx)] == [batch.id]
        assert batches.finish_ended(tx) == []


def test_a_stale_token_writes_nothing(store: Store, clock: Clock) -> None:
    batch, _ = submit(store, [row("a")])
    held = claim(store, batch)
    clock.now += 61_000
    with store.write() as tx:
        (lost,) = lives.lapsed(tx, [])
        lives.record(tx, [(lost, lapse(lost.life, now=tx.now))], actor="rescue")
    again = claim(store, batch, "t2")
    assert [one.stored.idempotency_key for one in again] == [held[0].stored.idempotency_key]
    assert answer(store, held, Accepted(task(TaskStatus.QUEUED)), "t1") == 0
    with store.write() as tx:
        # Even past the first check, the statement itself is fenced.
        late = after_submit(
            held[0].stored.life,
            Accepted(task(TaskStatus.SUCCEEDED, actual="0.0414")),
            now=tx.now,
            policy=POLICY,
            jitter=0.5,
            others_passed=False,
        )
        statement_only = [(held[0].stored, late)]
        before = tx.conn.execute(select(t.submissions.c.state)).scalar_one()
        lives._write(tx, statement_only)
        assert tx.conn.execute(select(t.submissions.c.state)).scalar_one() == before
    assert answer(store, again, Accepted(task(TaskStatus.QUEUED)), "t2") == 1


def test_a_dead_owner_is_not_waited_for(store: Store) -> None:
    batch, _ = submit(store, [row("a")])
    claim(store, batch, owner="dead")
    with store.write() as tx:
        assert lives.lapsed(tx, []) == []
        assert len(lives.lapsed(tx, ["dead"])) == 1


def test_an_unknown_one_keeps_its_hold_and_key(store: Store, clock: Clock) -> None:
    batch, _ = submit(store, [row("a")], budget=PRICE.nanos)
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
    first = claim(store, batch)
    answer(store, first, Ambiguous(Lost.TIMEOUT, Detail(message="no answer")))
    assert counts(store, batch) == {State.UNKNOWN: 1}
    assert money(store, batch)[0] == PRICE.nanos
    assert claim(store, batch, "t2") == []
    clock.now += 600_000
    again = claim(store, batch, "t3")
    assert again[0].stored.idempotency_key == first[0].stored.idempotency_key
    assert again[0].stored.life.first_sent_at == first[0].stored.life.first_sent_at
    assert again[0].stored.life.tries == 2
    assert money(store, batch)[0] == PRICE.nanos


def test_an_expired_key_is_not_sent_again(store: Store, clock: Clock) -> None:
    batch, _ = submit(store, [row("a")])
    answer(store, claim(store, batch), Ambiguous(Lost.TIMEOUT, Detail()))
    clock.now += POLICY.trusted
    assert claim(store, batch, "t2") == []
    with store.write() as tx:
        assert len(claims.with_expired_keys(tx, POLICY)) == 1


def test_fifty_claimers_cannot_pass_the_budget(store: Store) -> None:
    rows = [row(f"r{i}") for i in range(60)]
    batch, _ = submit(store, rows, budget=20 * PRICE.nanos + PRICE.nanos - 1)
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
    claimed: list[int] = []

    def work(number: int) -> None:
        claimed.extend(one.item.item_id for one in claim(store, batch, f"t{number}", room=3))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A claimer passes over rows that another has locked, so some may have come away empty.
    assert 0 < len(claimed) <= 20
    assert money(store, batch)[0] == len(claimed) * PRICE.nanos
    for number in range(50, 57):
        work(number)
    assert len(claimed) == len(set(claimed)) == 20
    assert money(store, batch)[0] == 20 * PRICE.nanos


def test_an_unknown_price_goes_alone_under_a_budget(store: Store) -> None:
    batch, _ = submit(store, [row("a"), row("b")], budget=1_000_000_000)
    probe = claim(store, batch)
    assert len(probe) == 1
    assert money(store, batch)[0] == 1_000_000_000
    assert claim(store, batch, "t2") == []
    answer(store, probe, Accepted(task(TaskStatus.QUEUED)))
    assert money(store, batch)[0] == PRICE.nanos
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
    assert len(claim(store, batch, "t3")) == 1


def test_a_budget_that_covers_no_row_stops_the_batch(store: Store) -> None:
    batch, _ = submit(store, [row("a")], budget=PRICE.nanos - 1)
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
    assert claim(store, batch) == []
    with store.write() as tx:
        assert batches.get(tx, batch.id).stop_code is Stop.BUDGET
        batches.set_budget(tx, batch.id, PRICE.nanos, actor="me", detail="more")
    assert len(claim(store, batch)) == 1


def test_polls_are_leased_once_and_again_after_the_lease(store: Store, clock: Clock) -> None:
    batch, _ = submit(store, [row("a")])
    answer(store, claim(store, batch), Accepted(task(TaskStatus.QUEUED)))

    def lease(token: str) -> int:
        with store.write() as tx:
            return lives.lease_for_polling(
                tx, account="acc", until=tx.now + 1000, horizon=tx.now, limit=10, token=token
            )

    assert lease("early") == 0
    clock.now += 60_000
    assert lease("p1") == 1
    assert lease("p2") == 0
    clock.now += 1001
    assert lease("p3") == 1
    with store.write() as tx:
        assert lives.under_lease(tx, "p1") == []
        (stored,) = lives.under_lease(tx, "p3")
        done = Accepted(task(TaskStatus.FAILED))
        decision = after_poll(stored.life, done, now=tx.now, policy=POLICY, jitter=0.5)
        lives.record(tx, [(stored, decision)], actor="me")
    assert counts(store, batch) == {State.FAILED: 1}
    assert money(store, batch) == (0, PRICE.nanos, 0, 0)


def test_a_stricter_gate_wins(store: Store, clock: Clock) -> None:
    def close(until: int | None, reason: GateReason) -> None:
        with store.write() as tx:
            gates.close(
                tx,
                provider=PROVIDER,
                account="acc",
                model="",
                reason=reason,
                message="m",
                mend="do",
                until=until,
                probe_at=None,
            )

    def closed() -> list[GateReason]:
        with store.read() as tx:
            return [gate.reason for gate in gates.closed(tx, PROVIDER, "acc")]

    close(clock.now + 1000, GateReason.RATE_LIMITED)
    assert closed() == [GateReason.RATE_LIMITED]
    close(None, GateReason.UNAUTHORIZED)
    close(clock.now + 5000, GateReason.RATE_LIMITED)
    assert closed() == [GateReason.UNAUTHORIZED]
    clock.now += 10_000
    assert closed() == [GateReason.UNAUTHORIZED]
    with store.write() as tx:
        (gate,) = gates.closed(tx, PROVIDER, "acc")
        assert gates.open_gate(tx, gate.id)
        assert not gates.open_gate(tx, gate.id)
    close(clock.now + 1000, GateReason.UNREACHABLE)
    clock.now += 1000
    assert closed() == []


def test_the_newest_price_counts(store: Store) -> None:
    with store.write() as tx:
        prices.learn(tx, PROVIDER, {"std": PRICE})
        prices.learn(tx, PROVIDER, {"std": parse_amount("0.05"), "pro": PRICE})
        assert prices.known(tx, PROVIDER) == {"std": 50_000_000, "pro": PRICE.nanos}
        assert prices.known(tx, "elsewhere") == {}


def test_history_tells_every_step(store: Store) -> None:
    batch, _ = submit(store, [row("a")])
    held = claim(store, batch)
    answer(store, held, Accepted(task(TaskStatus.SUCCEEDED, actual="0.0414")))
    with store.read() as tx:
        lines = views.history_of(tx, held[0].item.item_id)
    assert [(line.event, line.state) for line in lines] == [
        ("submitted", None),
        ("claim", "submitting"),
        ("succeed", "succeeded"),
    ]
