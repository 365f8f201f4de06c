"""Several accounts in one installation: each sends, asks, waits and is counted for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from orchestrator.domain.account import Account, Accounts
from orchestrator.domain.batch import BatchState
from orchestrator.domain.fleet import About
from orchestrator.domain.in_flight import InFlight
from orchestrator.domain.outcome import Detail, GateReason
from orchestrator.domain.states import State
from orchestrator.domain.submission import GateOrder
from orchestrator.services import dispatch, gatekeeping, polling, status, submission
from orchestrator.services.context import Timing
from orchestrator.store import batches, claims, workers
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from tests.support.shop import Shop, accept

DEFAULT, TEAM = Account("default", "acc"), Account("team", "tea")


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Iterator[Shop]:
    made = Shop(tmp_path, broker, accept)
    configure(made, DEFAULT, TEAM)
    yield made
    made.store.close()


def configure(shop: Shop, *accounts: Account) -> None:
    shop.context = replace(
        shop.context,
        accounts=Accounts(accounts),
        timing=Timing(request=2_000, chunk_size=10),
    )


def tick(shop: Shop, processes: int = 4) -> list[Chunk]:
    chunks: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=processes, submits=True)
    dispatch.run_once(shop.context, chunks.append)
    return chunks


def deliver(shop: Shop, chunk: Chunk) -> int:
    """A worker takes the message, at the desk of its account."""
    shop.sender = chunk.account
    return shop.buy(list(chunk.item_ids), probe=chunk.probe)


def close(shop: Shop, account: Account, reason: GateReason) -> None:
    with shop.store.write() as tx:
        gatekeeping.close(tx, shop.context, account.id, GateOrder(reason, Detail(), None))


def sent_with(shop: Shop, batch: Batch) -> dict[str, str]:
    """Row key -> the account its purchase remembers."""
    query = (
        t.items.select()
        .with_only_columns(t.items.c.row_key, t.submissions.c.account)
        .join(t.submissions, t.submissions.c.item_id == t.items.c.id)
        .where(t.items.c.batch_id == batch.id)
    )
    with shop.store.read() as tx:
        return dict(tx.conn.execute(query).all())


def due(shop: Shop) -> None:
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(due_at=0))
        tx.conn.execute(t.submissions.update().values(due_at=0))
        tx.conn.execute(t.chunks.delete())


def look(shop: Shop, batch: Batch) -> status.BatchStatus:
    with shop.store.read() as tx:
        return status.read(tx, shop.context, batches.get(tx, batch.id))


async def lose(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


def test_each_batch_is_sent_and_asked_about_with_its_own_account(shop: Shop) -> None:
    ours, theirs = shop.submit(3), shop.submit(2, name="theirs", account="team")
    chunks = tick(shop)
    assert {(c.batch_id, c.account) for c in chunks} == {(ours.id, "acc"), (theirs.id, "tea")}
    assert [deliver(shop, chunk) for chunk in chunks] == [3, 2]
    assert set(sent_with(shop, ours).values()) == {"acc"}
    assert set(sent_with(shop, theirs).values()) == {"tea"}
    due(shop)
    asked: dict[str, int] = {}
    polling.run_once(shop.context, lambda _token, number, account: asked.update({account: number}))
    assert asked == {"acc": 3, "tea": 2}


def test_a_gate_of_one_account_leaves_the_other_alone(shop: Shop) -> None:
    shop.submit(2)
    theirs = shop.submit(2, name="theirs", account="team")
    close(shop, DEFAULT, GateReason.UNAUTHORIZED)
    chunks = tick(shop)
    assert [chunk.batch_id for chunk in chunks] == [theirs.id]
    assert deliver(shop, chunks[0]) == 2


def test_a_gate_names_the_variable_of_its_own_account(shop: Shop) -> None:
    batch = shop.submit(1, account="team")
    close(shop, TEAM, GateReason.UNAUTHORIZED)
    gate = look(shop, batch).gate
    assert gate is not None
    assert "MINDVIDEO_API_KEY_TEAM" in gate.mend


def test_limits_in_flight_are_each_accounts_own(shop: Shop) -> None:
    configure(shop, replace(DEFAULT, in_flight=InFlight(2)), replace(TEAM, in_flight=InFlight(3)))
    ours, theirs = shop.submit(9), shop.submit(9, name="theirs", account="team")
    for chunk in tick(shop):
        deliver(shop, chunk)
    due(shop)
    assert tick(shop) == []
    assert shop.counts(ours) == {State.QUEUED: 2, State.PENDING: 7}
    assert shop.counts(theirs) == {State.QUEUED: 3, State.PENDING: 6}


def of_another_model(shop: Shop, batch: Batch, *row_keys: str) -> None:
    """As far as the database is concerned: this release knows one model only."""
    c = t.items.c
    rows = t.items.update().where(c.batch_id == batch.id, c.row_key.in_(row_keys))
    with shop.store.write() as tx:
        tx.conn.execute(rows.values(model="other", price_class="other/std"))


def keys_of(shop: Shop, chunk: Chunk) -> list[str]:
    query = t.items.select().where(t.items.c.id.in_(chunk.item_ids)).order_by(t.items.c.position)
    with shop.store.read() as tx:
        return [row.row_key for row in tx.conn.execute(query)]


def test_rows_of_a_full_model_are_passed_over(shop: Shop) -> None:
    configure(shop, replace(DEFAULT, in_flight=InFlight(None, {"kling-v2-6": 2})))
    batch = shop.submit(9)
    of_another_model(shop, batch, "r4")
    (chunk,) = tick(shop)
    assert keys_of(shop, chunk) == ["r0", "r1", "r4"]
    every = [*chunk.item_ids, *items(shop, batch)]
    assert shop.buy(sorted(set(every))) == 3, "the claim counts for itself"
    # More of the full model are before it than a chunk takes.
    of_another_model(shop, batch, "r8")
    due(shop)
    shop.context = replace(shop.context, timing=Timing(request=2_000, chunk_size=3))
    (chunk,) = tick(shop)
    assert keys_of(shop, chunk) == ["r8"]


def items(shop: Shop, batch: Batch) -> list[int]:
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(due_at=0))
        return [one.item_id for one in claims.next_items(tx, batch.id, 100)]


def test_what_is_unknown_is_asked_again_although_nothing_more_may_be_in_flight(shop: Shop) -> None:
    configure(shop, replace(DEFAULT, in_flight=InFlight(2)))
    batch = shop.submit(3)
    shop.answer = lose
    for chunk in tick(shop):
        deliver(shop, chunk)
    assert shop.counts(batch) == {State.UNKNOWN: 2, State.PENDING: 1}
    due(shop)
    shop.answer = accept
    (again,) = tick(shop)
    assert deliver(shop, again) == 2
    assert shop.counts(batch) == {State.QUEUED: 2, State.PENDING: 1}
    assert len(set(shop.posts)) == 2, "under the same keys"


def test_another_account_takes_over_only_what_was_never_sent(shop: Shop) -> None:
    batch = shop.submit(3)
    shop.answer = lose
    (first,) = tick(shop)
    assert shop.buy(list(first.item_ids[:2])) == 2
    shop.submit(3, account="team")
    due(shop)
    shop.answer = accept
    for _ in range(2):
        for chunk in tick(shop):
            deliver(shop, chunk)
        due(shop)
    assert sent_with(shop, batch) == {"r0": "acc", "r1": "acc", "r2": "tea"}
    assert shop.counts(batch) == {State.QUEUED: 3}
    assert len(shop.posts) == 5
    assert len(set(shop.posts)) == 3, "the account is no part of a key"


def test_a_late_message_of_the_former_account_sends_nothing(shop: Shop) -> None:
    batch = shop.submit(2)
    (late,) = tick(shop)
    shop.submit(2, account="team")
    assert deliver(shop, late) == 0
    assert shop.posts == []
    due(shop)
    (chunk,) = tick(shop)
    assert chunk.account == "tea"
    assert deliver(shop, chunk) == 2
    assert set(sent_with(shop, batch).values()) == {"tea"}


def test_what_is_unknown_is_not_asked_again_with_another_key(shop: Shop) -> None:
    """Whatever a message says: under another key it might be bought a second time."""
    batch = shop.submit(1)
    shop.answer = lose
    (chunk,) = tick(shop)
    deliver(shop, chunk)
    shop.submit(1, account="team")
    due(shop)
    shop.answer, shop.sender = accept, "tea"
    assert shop.buy(list(chunk.item_ids)) == 0
    assert len(shop.posts) == 1
    assert shop.counts(batch) == {State.UNKNOWN: 1}


def test_a_worker_without_the_key_gives_the_chunk_back(shop: Shop) -> None:
    batch = shop.submit(2, account="team")
    (chunk,) = tick(shop)
    assert shop.due(batch) == []
    submission.hand_back(shop.context, chunk.id, chunk.item_ids)
    assert shop.due(batch) == list(chunk.item_ids)
    assert [one.account for one in tick(shop)] == ["tea"]


def test_rows_without_a_key_wait_and_say_which_is_missing(shop: Shop) -> None:
    configure(shop, DEFAULT)
    batch = shop.submit(2, account="team")
    assert tick(shop) == []
    now = look(shop, batch)
    assert now.state is BatchState.BLOCKED
    assert now.exit_code() == 3
    assert now.gate is not None
    assert now.gate.reason is GateReason.NO_API_KEY
    assert "team" in now.gate.message
    assert "MINDVIDEO_API_KEY_TEAM " in now.gate.mend
    assert now.as_json()["account"] == "team"
    configure(shop, DEFAULT, TEAM)
    assert look(shop, batch).gate is None
    assert len(tick(shop)) == 1


def test_keys_that_workers_have_need_not_be_set_where_somebody_looks(shop: Shop) -> None:
    batch = shop.submit(2, account="team")
    shop.answer = lose
    (chunk,) = tick(shop)
    shop.sender = "tea"
    shop.buy(list(chunk.item_ids[:1]))
    configure(shop, DEFAULT)
    assert look(shop, batch).state is BatchState.BLOCKED
    about = About(provider=shop.context.provider, accounts=("default:acc", "team:tea"))
    with shop.store.write() as tx:
        workers.seen(tx, "elsewhere", processes=1, submits=True, about=about)
    now = look(shop, batch)
    assert (now.state, now.gate, now.waiting) == (BatchState.RUNNING, None, {})


def test_what_was_sent_with_a_key_that_is_gone_waits_for_it(shop: Shop) -> None:
    batch = shop.submit(1)
    shop.answer = lose
    (chunk,) = tick(shop)
    deliver(shop, chunk)
    due(shop)
    configure(shop, replace(DEFAULT, id="new"), TEAM)
    assert look(shop, batch).waiting == {status.OTHER_KEY: 1}
    assert tick(shop) == []
    configure(shop, replace(DEFAULT, id="new"), Account("old", "acc"))
    assert look(shop, batch).waiting == {}
    assert [one.account for one in tick(shop)] == ["acc"]


def test_a_slow_account_does_not_take_every_process(shop: Shop) -> None:
    """One that gets a row through in a second would keep all processes for minutes."""
    configure(shop, replace(DEFAULT, requests_per_second=1), replace(TEAM, requests_per_second=50))
    slow = shop.submit(100)
    fast = shop.submit(100, name="theirs", account="team")
    for _ in range(3):
        chunks = tick(shop, processes=2)
        assert sum(len(c.item_ids) for c in chunks if c.batch_id == slow.id) <= 5
        for chunk in chunks:
            if chunk.batch_id == fast.id:
                deliver(shop, chunk)
        with shop.store.write() as tx:
            tx.conn.execute(t.chunks.delete().where(t.chunks.c.account == "tea"))
    assert shop.counts(slow) == {State.PENDING: 100}
    assert shop.counts(fast)[State.QUEUED] >= 60


def test_a_dead_workers_rows_do_not_hold_their_account_back(shop: Shop) -> None:
    configure(shop, replace(DEFAULT, requests_per_second=1), TEAM)
    shop.submit(20)
    (chunk,) = tick(shop)
    shop.buy(list(chunk.item_ids))
    lease = shop.context.timing.lease

    def leased_for(seconds: int) -> list[Chunk]:
        with shop.store.write() as tx:
            until = tx.now + lease - seconds * 1000
            tx.conn.execute(t.submissions.update().values(state="submitting", lease_until=until))
            tx.conn.execute(t.chunks.delete())
        return tick(shop)

    assert leased_for(2) == []
    assert len(leased_for(60)) == 1


def test_alone_an_account_fills_every_process(shop: Shop) -> None:
    configure(shop, replace(DEFAULT, requests_per_second=1))
    shop.submit(100)
    assert [len(chunk.item_ids) for chunk in tick(shop, processes=2)] == [10, 10, 10, 10]
