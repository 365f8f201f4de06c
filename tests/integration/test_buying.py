"""A chunk from claim to record: real database, real broker, real journal; the provider is a
transport that looks at all of them at the moment of the POST."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.outcome import Detail, GateReason
from orchestrator.domain.states import State
from orchestrator.domain.submission import GateOrder
from orchestrator.errors import UsageError
from orchestrator.journal import Intent, JournalWriter, Outcome, OutcomeKind, Terminal, read
from orchestrator.services import gatekeeping, polling, submission
from orchestrator.services.desk import Desk
from orchestrator.services.recording import Recorder
from orchestrator.store import batches, claims, gates, prices, views
from orchestrator.store import tables as t
from tests.support.shop import Shop, accept, limited


async def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


def test_the_intent_is_on_disk_before_the_post_and_the_outcome_after(shop: Shop) -> None:
    seen: list[tuple[list[str], str, bool]] = []

    async def look(request: httpx.Request) -> httpx.Response:
        key = request.headers["idempotency-key"]
        journalled = list(read(shop.journal))
        with shop.store.read() as tx:
            row = tx.conn.execute(
                t.submissions.select().where(t.submissions.c.idempotency_key == key)
            ).one()
        intents = [r.idempotency_key for r in journalled if isinstance(r, Intent)]
        done = any(isinstance(r, Outcome) and r.idempotency_key == key for r in journalled)
        seen.append((intents, row.state, done))
        return await accept(request)

    shop.answer = look
    batch = shop.submit(3)
    assert shop.buy(shop.due(batch)) == 3
    for intents, state, done in seen:
        assert set(intents) == set(shop.posts)
        assert state == State.SUBMITTING
        assert not done
    outcomes = [r for r in read(shop.journal) if isinstance(r, Outcome)]
    assert {r.idempotency_key for r in outcomes} == set(shop.posts)
    assert {r.kind for r in outcomes} == {OutcomeKind.ACCEPTED}
    assert {r.state for r in outcomes} == {"queued"}


def test_the_same_message_twice_buys_once(shop: Shop) -> None:
    batch = shop.submit(4)
    ids = shop.due(batch)
    assert shop.buy(ids) == 4
    assert shop.buy(ids) == 0
    assert len(shop.posts) == 4


def test_a_message_that_comes_again_leaves_alone_what_is_to_be_asked_later(shop: Shop) -> None:
    shop.answer = lose
    batch = shop.submit(2)
    items = shop.due(batch)
    assert shop.buy(items) == 2
    assert (shop.buy(items), shop.due(batch)) == (0, [])


def test_a_message_that_comes_again_keeps_rows_apart_over_which_workers_died(shop: Shop) -> None:
    shop.answer = lose
    batch = shop.submit(3)
    items = shop.due(batch)
    shop.buy(items)
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(lapses=2, due_at=tx.now))
        tx.conn.execute(t.items.update().values(due_at=tx.now))
    shop.answer = accept
    assert shop.buy(items) == 1
    assert shop.due(batch) == items[1:]


def test_a_worker_with_another_address_sends_nothing_that_belongs_elsewhere(shop: Shop) -> None:
    batch = shop.submit(2)
    ids = shop.due(batch)
    shop.context = replace(shop.context, provider="http://127.0.0.1:2/api/v1")
    assert shop.buy(ids) == 0
    assert shop.posts == []
    assert shop.counts(batch) == {State.PENDING: 2}


def test_a_batch_moves_with_the_settings_until_something_of_it_is_sent(shop: Shop) -> None:
    home = shop.context
    shop.context = replace(home, provider="http://127.0.0.1:2/api/v1", namespace="typo")
    shop.submit(2)
    shop.context = home
    batch = shop.submit(2)
    assert (batch.provider, batch.namespace) == (home.provider, home.namespace)
    assert shop.buy(shop.due(batch)) == 2
    shop.context = replace(home, provider="http://127.0.0.1:2/api/v1")
    with pytest.raises(UsageError, match="was submitted to"):
        shop.submit(3)


def test_a_hung_request_does_not_delay_its_neighbours(shop: Shop) -> None:
    batch = shop.submit(5)
    recorded_meanwhile: list[int] = []

    async def hang_once(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["input"]["prompt"] == "a kettle 2":
            await asyncio.sleep(1.0)
            counted = await asyncio.to_thread(shop.counts, batch)
            recorded_meanwhile.append(counted.get(State.QUEUED, 0))
        return await accept(request)

    shop.answer = hang_once
    assert shop.buy(shop.due(batch)) == 5
    assert recorded_meanwhile == [4]


def test_a_worker_that_slept_past_its_lease_sends_nothing(shop: Shop) -> None:
    batch = shop.submit(2)
    journal = JournalWriter.append

    def slow(self: JournalWriter, records: object) -> None:
        journal(self, records)  # type: ignore[arg-type]
        shop.ahead += 3600

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalWriter, "append", slow)
        shop.buy(shop.due(batch))
    assert shop.posts == []
    assert shop.counts(batch) == {State.PENDING: 2}


def test_a_key_that_will_be_too_old_is_not_sent(tmp_path: Path, broker: str) -> None:
    shop = Shop(tmp_path, broker, accept, retention=1_000)
    batch = shop.submit(1)
    shop.buy(shop.due(batch))
    assert shop.posts == []


@pytest.mark.parametrize("wanted", [Wanted.PAUSED, Wanted.CANCELLED])
def test_a_batch_that_is_not_wanted_sends_nothing(shop: Shop, wanted: Wanted) -> None:
    batch = shop.submit(2)
    ids = shop.due(batch)
    with shop.store.write() as tx:
        tx.conn.execute(t.batches.update().values(wanted=wanted))
    assert shop.buy(ids) == 0
    assert shop.posts == []


def test_a_lost_answer_is_not_asked_for_while_the_batch_is_paused(shop: Shop) -> None:
    shop.answer = lose
    batch = shop.submit(1)
    ids = shop.due(batch)
    shop.buy(ids)
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
        tx.conn.execute(t.batches.update().values(wanted=Wanted.PAUSED))
    assert shop.buy(ids) == 0
    assert len(shop.posts) == 1


def test_a_clock_that_went_back_sends_nothing(shop: Shop) -> None:
    batch = shop.submit(1)
    append = JournalWriter.append

    def back(self: JournalWriter, records: object) -> None:
        append(self, records)  # type: ignore[arg-type]
        shop.ahead -= 60

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalWriter, "append", back)
        shop.buy(shop.due(batch))
    assert shop.posts == []
    assert shop.counts(batch) == {State.PENDING: 1}


def test_no_more_are_in_flight_than_may_be(shop: Shop) -> None:
    shop.context = replace(shop.context, accounts=limited(3))
    batch = shop.submit(5)
    ids = shop.due(batch)
    assert shop.buy(ids[:2]) == 2
    assert shop.buy(ids[2:]) == 1
    assert shop.buy(ids) == 0


def test_a_chunk_that_meets_a_gate_gives_its_rows_back(shop: Shop) -> None:
    batch = shop.submit(2)
    ids = shop.due(batch)
    with shop.store.write() as tx:
        chunk = claims.Chunk("c", batch.id, batch.title, tuple(ids), 1, 2)
        claims.reserve(tx, chunk, until=tx.now + 20_000)
        order = GateOrder(GateReason.PAYMENT_REQUIRED, Detail(status=402), None)
        gatekeeping.close(tx, shop.context, "acc", order)
    assert shop.due(batch) == []
    assert shop.buy(ids) == 0
    assert shop.due(batch) == ids
    with shop.store.write() as tx:
        assert claims.unstarted(tx) == 0


def test_an_answer_whose_lease_was_lost_changes_nothing(shop: Shop) -> None:
    async def take_over(request: httpx.Request) -> httpx.Response:
        with shop.store.write() as tx:
            tx.conn.execute(t.submissions.update().values(lease_token="another's"))
        return await accept(request)

    shop.answer = take_over
    batch = shop.submit(1)
    assert shop.buy(shop.due(batch)) == 0
    assert shop.counts(batch) == {State.SUBMITTING: 1}
    with shop.store.read() as tx:
        now = batches.get(tx, batch.id)
    assert (now.held_nanos, now.estimated_nanos) == (0, 0)


def test_a_cost_that_nobody_can_read_stops_the_batch(shop: Shop) -> None:
    async def odd(request: httpx.Request) -> httpx.Response:
        answer = json.loads((await accept(request)).content)
        return httpx.Response(200, json=answer | {"cost_estimate": "a fortune"})

    shop.answer = odd
    batch = shop.submit(2)
    ids = shop.due(batch)
    assert shop.buy(ids[:1]) == 1
    with shop.store.read() as tx:
        assert batches.get(tx, batch.id).stop_code is Stop.COST_UNREADABLE
    assert shop.buy(ids[1:]) == 0
    assert len(shop.posts) == 1


def test_while_the_database_refuses_answers_nothing_is_sent_and_nothing_is_lost(
    shop: Shop,
) -> None:
    batch = shop.submit(2)
    ids = shop.due(batch)

    def database(statement: str) -> None:
        with shop.store.write() as tx:
            tx.conn.exec_driver_sql(statement)

    async def buy(desk: Desk) -> int:
        held = submission.claim_chunk(desk, "c", ids, probe=False)
        assert held is not None
        first, second = held.claims
        stored = [one.stored for one in held.claims]
        recorder = Recorder(desk, held.lease.token, stored, now=held.now)
        database(
            "CREATE TRIGGER away BEFORE UPDATE ON submissions "
            "BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END"
        )
        async with recorder.running():
            await submission._buy(desk, held, first, recorder)
            try:
                async with asyncio.timeout(10):
                    while not recorder.stalled:  # noqa: ASYNC110 it tells nobody
                        await asyncio.sleep(0.01)
                await submission._buy(desk, held, second, recorder)
            finally:
                database("DROP TRIGGER away")
        return recorder.recorded

    assert asyncio.run(shop.with_desk(buy)) == 2
    assert len(shop.posts) == 1
    assert shop.counts(batch) == {State.QUEUED: 1, State.PENDING: 1}
    outcomes = [r.kind for r in read(shop.journal) if isinstance(r, Outcome)]
    assert outcomes == [OutcomeKind.ACCEPTED, OutcomeKind.NOT_SENT], "each journalled once"


def test_a_price_that_was_asked_for_is_known_from_then_on(shop: Shop) -> None:
    shop.buy(shop.due(shop.submit(1)))
    with shop.store.read() as tx:
        known = prices.known(tx, shop.context.provider)
    assert list(known.values()) == [41_400_000]


def test_a_failed_row_is_bought_anew_as_often_as_the_spec_says(shop: Shop) -> None:
    async def fail(request: httpx.Request) -> httpx.Response:
        answer = json.loads((await accept(request)).content)
        return httpx.Response(200, json=answer | {"status": "failed"})

    shop.answer = fail
    batch = shop.submit(1)
    with shop.store.write() as tx:
        tx.conn.execute(t.batches.update().values(retries=1))
    ids = shop.due(batch)
    assert shop.buy(ids) == 1
    assert shop.counts(batch) == {State.PENDING: 1}
    assert shop.buy(ids) == 1
    assert shop.counts(batch) == {State.FAILED: 1}
    assert len(set(shop.posts)) == 2


def test_a_request_to_slow_down_closes_the_gate_for_a_time(shop: Shop) -> None:
    async def slow_down(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "7"}, json={"error": {}})

    shop.answer = slow_down
    shop.buy(shop.due(shop.submit(1)))
    with shop.store.read() as tx:
        (gate,) = gates.closed(tx, shop.context.provider, "acc")
    assert (gate.reason, gate.probe_at) == (GateReason.RATE_LIMITED, None)
    assert gate.until is not None


def test_a_refused_key_is_tried_once_for_each_time_it_is_due(shop: Shop) -> None:
    asked: list[str] = []

    async def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(401, json={"error": {"message": "unknown key"}})

    shop.answer = refuse
    shop.buy(shop.due(shop.submit(1)))
    assert shop.probe() == 0
    assert asked == ["POST"], "not due yet"
    with shop.store.write() as tx:
        tx.conn.execute(t.gates.update().values(probe_at=0))
    shop.probe()
    shop.probe()
    assert asked == ["POST", "GET"]


def test_who_asks_about_a_task_has_its_name_on_the_lease(shop: Shop) -> None:
    seen: list[tuple[str, bool]] = []

    async def look(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            with shop.store.read() as tx:
                row = tx.conn.execute(t.submissions.select()).one()
                seen.append((row.lease_owner, row.lease_until > tx.now + polling.LEASE_MS))
        return await accept(request)

    shop.answer = look
    shop.buy(shop.due(shop.submit(1)))
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    tokens: list[str] = []
    polling.run_once(shop.context, lambda token, *_: tokens.append(token))
    assert shop.poll(tokens[0]) == 1
    assert seen == [("me", True)]


def test_a_refused_key_closes_the_gate_and_a_question_opens_it(shop: Shop) -> None:
    async def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"message": "unknown key"}})

    batch = shop.submit(6)
    ids = shop.due(batch)
    shop.answer = refuse
    assert shop.buy(ids[:3]) == 3
    assert shop.counts(batch) == {State.PENDING: 6}
    sent = len(shop.posts)
    assert shop.buy(ids[3:]) == 0
    assert len(shop.posts) == sent
    with shop.store.write() as tx:
        tx.conn.execute(t.gates.update().values(probe_at=0))
    assert shop.probe() == 0, "still refused"

    async def unknown_task(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"error": "no such task"})

    shop.answer = unknown_task
    with shop.store.write() as tx:
        tx.conn.execute(t.gates.update().values(probe_at=0))
        tx.conn.execute(t.submissions.update().values(due_at=0))
    assert shop.probe() == 1
    shop.answer = accept
    assert shop.buy(ids) == 6


def test_a_row_opens_the_gate_that_money_closed(shop: Shop) -> None:
    batch = shop.submit(3)
    ids = shop.due(batch)
    with shop.store.write() as tx:
        order = GateOrder(GateReason.PAYMENT_REQUIRED, Detail(status=402), None)
        gatekeeping.close(tx, shop.context, "acc", order)
    assert shop.buy(ids[1:]) == 0
    assert shop.buy(ids[:1], probe=True) == 1
    assert shop.buy(ids[1:]) == 2


def test_a_probe_gets_its_turn_behind_the_gate_that_it_tries(shop: Shop) -> None:
    ids = shop.due(shop.submit(1))

    async def probe(desk: Desk) -> int:
        await desk.limiter.close(GateReason.PAYMENT_REQUIRED, None)
        return await submission.run_chunk(desk, "c", ids, probe=True)

    assert asyncio.run(shop.with_desk(probe)) == 1
    assert len(shop.posts) == 1


def test_lost_answers_are_asked_again_with_the_same_bytes(shop: Shop) -> None:
    bodies: list[bytes] = []

    async def lose(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) == 1:
            raise httpx.ReadError("reset", request=request)
        return await accept(request)

    shop.answer = lose
    batch = shop.submit(1)
    ids = shop.due(batch)
    shop.buy(ids)
    assert shop.counts(batch) == {State.UNKNOWN: 1}
    assert shop.buy(ids) == 0, "not before it is due"
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    assert shop.buy(ids) == 1
    assert bodies[0] == bodies[1]
    assert shop.posts[0] == shop.posts[1]
    assert shop.counts(batch) == {State.QUEUED: 1}


def test_a_poll_records_the_end_with_urls_and_cost(shop: Shop) -> None:
    batch = shop.submit(2)
    shop.buy(shop.due(batch))
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    tokens: list[str] = []
    assert polling.run_once(shop.context, lambda token, *_: tokens.append(token)) == 1
    assert polling.run_once(shop.context, lambda token, *_: tokens.append(token)) == 0
    assert shop.poll(tokens[0]) == 2
    assert shop.poll(tokens[0]) == 0
    with shop.store.read() as tx:
        results = list(views.results(tx, batch.id))
        now = batches.get(tx, batch.id)
    assert [r.video_urls for r in results] == [("https://x/1.mp4",)] * 2
    assert now.actual_nanos == 2 * 41_400_000
    assert now.held_nanos == 0
    assert len([r for r in read(shop.journal) if isinstance(r, Terminal)]) == 2


def test_the_events_of_a_failure_are_kept_raw(shop: Shop) -> None:
    raw = '{"events": [{"why": "moderation"}]}'

    async def fail(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return await accept(request)
        if request.url.path.endswith("/events"):
            return httpx.Response(200, text=raw)
        task_id = request.url.path.rpartition("/")[2]
        error = {"message": "not allowed"}
        return httpx.Response(200, json={"task_id": task_id, "status": "failed", "error": error})

    shop.answer = fail
    batch = shop.submit(1)
    shop.buy(shop.due(batch))
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    tokens: list[str] = []
    polling.run_once(shop.context, lambda token, *_: tokens.append(token))
    shop.poll(tokens[0])
    with shop.store.read() as tx:
        kept = tx.conn.execute(t.submissions.select()).one()
    assert json.loads(kept.events_json) == json.loads(raw)
    assert kept.error_message == "not allowed"
    assert kept.state == State.FAILED


def test_the_key_is_nowhere(shop: Shop) -> None:
    async def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "bad input"}})

    shop.answer = echo
    batch = shop.submit(1)
    shop.buy(shop.due(batch))
    for path in shop.folder.rglob("*"):
        if path.is_file():
            assert b"mv_live_secret" not in path.read_bytes(), path
