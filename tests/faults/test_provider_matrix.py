"""What the provider may answer, in sequences: each try speaks for itself, money stays held.

The provider is a function that charges once for each key; the database, the journal and the broker
are real. Time passes in the database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.domain.batch import BatchState
from orchestrator.domain.states import State
from orchestrator.services import polling, rescue, status
from orchestrator.store import batches, gates, views
from orchestrator.store import tables as t
from orchestrator.store.batches import Batch
from orchestrator.store.views import Result
from tests.support.shop import Shop
from tests.support.valkey import short_directory, valkey_server

PRICE = 41_400_000
DEARER = 100_000_001
"""0.1000000001 USD, rounded up."""
Answer = Callable[[httpx.Request], httpx.Response]


def task(request: httpx.Request, status: str = "queued", **more: object) -> dict[str, object]:
    """A task as the provider shows it, named after its key or as it was asked for."""
    key = request.headers.get("idempotency-key")
    name = f"task_{key[:12]}" if key else request.url.path.rpartition("/")[2]
    shape: dict[str, object] = {"task_id": name, "status": status, "cost_estimate": 0.0414}
    if status == "succeeded":
        shape |= {"cost_actual": 0.0414, "output": {"videos": [{"url": "https://x/1.mp4"}]}}
    return shape | more


def json_answer(status: str = "queued", **more: object) -> Answer:
    return lambda request: httpx.Response(200, json=task(request, status, **more))


def error(status: int, **headers: str) -> Answer:
    return lambda _request: httpx.Response(
        status, json={"error": {"message": "no"}}, headers=headers
    )


def body(text: str, status: int = 200) -> Answer:
    return lambda _request: httpx.Response(status, text=text)


def reset(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@dataclass
class Scene:
    """A shop, what its provider answers next, and whom it charged."""

    shop: Shop
    posts: list[Answer] = field(default_factory=list)
    polls: list[Answer] = field(default_factory=list)
    charged: Counter[str] = field(default_factory=Counter)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                key = request.headers["idempotency-key"]
                self.sent.append((key, request.content))
                script = self.posts.pop(0) if self.posts else json_answer()
                if script not in COSTLESS:
                    self.charged[key] = 1
                return script(request)
            if request.url.path.endswith("/events"):
                return httpx.Response(200, json=[])
            return (self.polls.pop(0) if self.polls else json_answer("succeeded"))(request)

        self.shop.answer = answer

    def submit(self, rows: int = 1, **options: Any) -> Batch:
        self.batch = self.shop.submit(rows, **options)
        self.ids = self.shop.due(self.batch)
        return self.batch

    def buy(self) -> int:
        """All rows in one chunk, whatever they wait for."""
        self.pass_time()
        return self.shop.buy(self.ids)

    def poll(self) -> int:
        self.pass_time()
        tokens: list[str] = []
        polling.run_once(self.shop.context, lambda token, *_: tokens.append(token))
        return sum(self.shop.poll(token) for token in tokens)

    def pass_time(self) -> None:
        with self.shop.store.write() as tx:
            tx.conn.execute(t.submissions.update().values(due_at=0))
            tx.conn.execute(t.gates.update().where(t.gates.c.until.is_not(None)).values(until=1))

    def age(self, milliseconds: int) -> None:
        """Everything happened so much earlier."""
        with self.shop.store.write() as tx:
            for name in ("first_sent_at", "accepted_at", "missing_since"):
                column = t.submissions.c[name]
                tx.conn.execute(t.submissions.update().values({name: column - milliseconds}))

    @property
    def rows(self) -> list[Result]:
        with self.shop.store.read() as tx:
            return list(views.results(tx, self.batch.id))

    @property
    def life(self) -> dict[str, Any]:
        with self.shop.store.read() as tx:
            return dict(tx.conn.execute(t.submissions.select()).one()._mapping)

    @property
    def status(self) -> status.BatchStatus:
        with self.shop.store.read() as tx:
            return status.read(tx, self.shop.context, batches.get(tx, self.batch.id))

    @property
    def gates(self) -> list[str]:
        with self.shop.store.read() as tx:
            return [
                str(gate.reason) for gate in gates.closed(tx, self.shop.context.provider, "acc")
            ]


R429, R422, R409, R401, R402, R403 = (error(code) for code in (429, 422, 409, 401, 402, 403))
COSTLESS: tuple[Answer, ...] = (R429, R422, R409, R401, R402, R403, refused)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture
def scene(tmp_path: Path, broker: str) -> Scene:
    async def never(_request: httpx.Request) -> httpx.Response:
        raise AssertionError

    return Scene(Shop(tmp_path, broker, never))


LOST = {
    "reset": reset,
    "502": error(502),
    "503": error(503),
    "503 with Retry-After": error(503, **{"retry-after": "7"}),
    "HTML": body("<html>busy</html>"),
    "truncated": body('{"task_id": "task_'),
    "empty": body(""),
    "no task id": body('{"status": "queued"}'),
    "408": error(408),
    "425": error(425),
}
AFTER = {
    "429": (R429, State.UNKNOWN),
    "422": (R422, State.UNKNOWN),
    "refused connection": (refused, State.UNKNOWN),
    "409": (R409, State.UNKNOWN),
    "401": (R401, State.UNKNOWN),
    "already succeeded": (json_answer("succeeded"), State.SUCCEEDED),
    "still queued": (json_answer("queued"), State.QUEUED),
    "already failed": (json_answer("failed", error="moderated"), State.FAILED),
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("after", AFTER)
def test_a_later_answer_speaks_for_its_own_try_only(scene: Scene, lost: str, after: str) -> None:
    scene.submit()
    scene.posts = [LOST[lost]]
    scene.buy()
    first = scene.life
    assert first["state"] == State.UNKNOWN
    answer, expected = AFTER[after]
    scene.posts = [answer]
    scene.buy()
    assert scene.life["state"] == expected
    assert scene.life["first_sent_at"] == first["first_sent_at"]
    if expected is State.UNKNOWN:
        assert scene.life["unresolved"]
    assert len(set(scene.sent)) == 1, "the same key and the same bytes"
    assert sum(scene.charged.values()) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(R429, State.PENDING), (R422, State.REJECTED), (refused, State.PENDING)],
)
def test_a_first_answer_that_costs_nothing_frees_the_hold(
    scene: Scene, answer: Answer, expected: State
) -> None:
    scene.submit()
    scene.posts = [answer]
    scene.buy()
    assert scene.life["state"] == expected
    assert scene.life["hold_nanos"] == 0
    assert scene.charged == {}


def test_conflicts_go_on_for_a_while_and_then_to_a_person(scene: Scene) -> None:
    scene.submit()
    scene.posts = [R409] * 5
    for _ in range(6):
        scene.buy()
    assert scene.life["needs_person"] == "idempotency_conflict"
    assert len(scene.sent) == 5
    assert len(set(scene.sent)) == 1


@pytest.mark.parametrize(
    ("answer", "reason"), [(R401, "unauthorized"), (R402, "payment_required"), (R403, "forbidden")]
)
def test_an_account_that_is_refused_in_the_middle_sends_no_more(
    scene: Scene, answer: Answer, reason: str
) -> None:
    scene.submit(6)
    scene.posts = [json_answer(), json_answer(), answer, answer, answer, answer]
    scene.buy()
    assert scene.gates == [reason]
    assert scene.shop.counts(scene.batch) == {State.QUEUED: 2, State.PENDING: 4}
    scene.buy()
    assert len(scene.sent) == 6
    assert scene.poll() == 2, "what was bought is collected"
    assert scene.status.state is BatchState.BLOCKED


def test_a_moderated_row_is_set_aside_while_others_pass(scene: Scene) -> None:
    scene.submit(3)

    def moderate(request: httpx.Request) -> httpx.Response:
        bad = json.loads(request.content)["input"]["prompt"] == "a kettle 1"
        return R403(request) if bad else json_answer()(request)

    scene.posts = [moderate] * 3
    scene.buy()
    with scene.shop.store.write() as tx:
        for gate in gates.closed(tx, scene.shop.context.provider, "acc"):
            gates.open_gate(tx, gate.id)
    scene.posts = [moderate] * 3
    scene.buy()
    states = [(row.row_key, row.state, row.needs_person) for row in scene.rows]
    assert states[1] == ("r1", State.PENDING, "refused_alone")
    assert {states[0][1], states[2][1]} == {State.QUEUED}
    assert scene.gates == [], "the row is blamed, not the account"


POLLS = {
    "an unknown word": json_answer("rendering"),
    "a status that goes back": json_answer("queued"),
    "no answer": error(500),
    "HTML": body("<html>"),
    "too many": error(429, **{"retry-after": "2"}),
    "reset": reset,
    "unknown soon after its submit": error(404),
}


@pytest.mark.parametrize("odd", POLLS)
def test_an_odd_poll_is_asked_again_and_never_ends_an_item(scene: Scene, odd: str) -> None:
    scene.submit()
    scene.buy()
    scene.polls = [json_answer("processing"), POLLS[odd], POLLS[odd]]
    scene.poll()
    scene.poll()
    scene.poll()
    assert scene.life["state"] in (State.QUEUED, State.PROCESSING)
    assert scene.life["hold_nanos"] == PRICE
    scene.poll()
    assert scene.rows[0].state is State.SUCCEEDED
    assert scene.status.batch.actual_nanos == PRICE


def test_an_end_is_final_whatever_is_said_later(scene: Scene) -> None:
    scene.submit()
    scene.buy()
    scene.poll()
    with scene.shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(lease_token="late"))
    scene.polls = [json_answer("failed")]
    scene.shop.poll("late")
    assert scene.rows[0].state is State.SUCCEEDED


ENDS: dict[str, tuple[Answer, int | None, int | None, str | None]] = {
    "succeeded": (json_answer("succeeded"), PRICE, None, None),
    "succeeded, no cost": (json_answer("succeeded", cost_actual=None), None, PRICE, None),
    "succeeded, no video": (json_answer("succeeded", output=None), PRICE, None, "no_output"),
    "succeeded, dearer": (json_answer("succeeded", cost_actual="0.1000000001"), DEARER, None, None),
    "failed": (json_answer("failed", error={"code": "moderated"}), None, 0, "moderated"),
    "failed, with cost": (json_answer("failed", cost_actual=0.0414), PRICE, None, "failed"),
    "cancelled": (json_answer("cancelled"), None, 0, "cancelled"),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_each_end_settles_the_hold(scene: Scene, end: str) -> None:
    answer, actual, assumed, code = ENDS[end]
    scene.submit()
    scene.buy()
    scene.polls = [answer]
    scene.poll()
    (row,) = scene.rows
    assert (row.actual_nanos, row.assumed_nanos, row.error_code) == (actual, assumed, code)
    batch = scene.status.batch
    assert (batch.held_nanos, batch.actual_nanos, batch.assumed_nanos) == (
        0, actual or 0, assumed or 0,
    )  # fmt: skip


@pytest.mark.parametrize("cost", ['"NaN"', '"abc"', "-1", '"-0.01"', "1e30", "true", "[]"])
def test_an_unreadable_cost_keeps_the_hold_and_stops_the_batch(scene: Scene, cost: str) -> None:
    scene.submit(3)
    scene.posts = [json_answer()]
    scene.ids = scene.ids[:1]
    scene.buy()
    scene.polls = [
        lambda request: httpx.Response(
            200, text=json.dumps(task(request, "succeeded", cost_actual=0)).replace(
                '"cost_actual": 0', f'"cost_actual": {cost}'
            ),
        )
    ]  # fmt: skip
    scene.poll()
    assert scene.rows[0].needs_person == "cost_unreadable"
    assert scene.status.batch.held_nanos == PRICE
    scene.ids = [row.item_id for row in scene.rows]
    assert scene.buy() == 0, "the batch sends nothing more"
    assert scene.status.exit_code() == 5


def test_a_provider_that_charges_above_the_price_stops_at_the_budget(scene: Scene) -> None:
    scene.submit(4, budget=3 * PRICE)
    scene.posts = [json_answer()]
    every, scene.ids = scene.ids, scene.ids[:1]
    scene.buy()
    scene.polls = [json_answer("succeeded", cost_actual="0.12")]
    scene.poll()
    scene.ids = every
    assert scene.buy() == 0
    now = scene.status
    assert now.batch.actual_nanos == 120_000_000
    assert (now.state, now.exit_code()) == (BatchState.BLOCKED, 4)


def test_a_task_that_never_ends_is_overdue_and_still_asked_about(scene: Scene) -> None:
    scene.submit()
    scene.buy()
    scene.age(3_700_000)
    scene.polls = [json_answer("processing")]
    scene.poll()
    assert scene.rows[0].needs_person == "overdue"
    assert scene.status.batch.held_nanos == PRICE
    scene.poll()
    assert (scene.rows[0].state, scene.rows[0].needs_person) == (State.SUCCEEDED, None)


def test_a_task_that_the_provider_forgets_is_lost_and_keeps_its_hold(scene: Scene) -> None:
    scene.submit()
    scene.buy()
    scene.polls = [error(404)]
    scene.poll()
    scene.age(700_000)
    scene.polls = [error(404)]
    scene.poll()
    assert scene.rows[0].needs_person == "lost"
    assert scene.status.batch.held_nanos == PRICE
    scene.poll()
    assert scene.rows[0].state is State.SUCCEEDED, "late is not lost"


def test_an_unknown_key_is_not_sent_again_once_it_may_be_forgotten(scene: Scene) -> None:
    scene.submit()
    scene.posts = [reset]
    scene.buy()
    scene.age(86_400_000)
    assert scene.buy() == 0
    rescue.run_once(scene.shop.context)
    assert scene.rows[0].needs_person == "key_expired"
    assert scene.status.batch.held_nanos == scene.life["hold_nanos"]
    assert len(scene.sent) == 1


def test_another_api_key_neither_sends_nor_asks_for_what_the_first_sent(scene: Scene) -> None:
    scene.submit(2)
    scene.posts = [reset, json_answer()]
    scene.buy()
    with scene.shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(account="first"))
    assert scene.buy() == 0
    assert scene.poll() == 0
    now = scene.status
    assert now.waiting == {"other_api_key": 2}
    assert (now.settled, now.exit_code()) == (True, 5)
    assert len(scene.sent) == 2
