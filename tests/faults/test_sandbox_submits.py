"""Every answer to a submit after a lost one: the same key and bytes, one charge, the hold in place.

The provider is the sandbox, whose ledger says what was charged; its tasks end at once, so a key
asked for again is answered with a task that has ended.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sandbox.store import Store as SandboxState
from tests.support.sandbox import Sandbox
from tests.support.served_shop import BUDGET, ServedShop
from tests.support.valkey import short_directory, valkey_server
from tests.support.watched import watched_sandbox

PRICE = 41_400_000
LOST = {
    "lost_answer_after_commit": "connection",
    "error_502_after_commit": "server_error",
    "error_503_after_commit": "unavailable",
    "garbage_after_commit": "unreadable",
    "truncated_after_commit": "unreadable",
    "empty_after_commit": "unreadable",
    "hang_after_commit": "timeout",
}
LOST_BEFORE = {
    "reset": "connection",
    "hang": "timeout",
    "error_500": "server_error",
    "error_503": "unavailable",
    "garbage": "unreadable",
    "truncated": "unreadable",
    "empty": "unreadable",
    "status 408": "server_error",
    "status 425": "server_error",
    "status 504": "server_error",
    "conflict_409": "conflict",
}
COSTLESS = {
    "rate_limit_429": "rate_limited",
    "unauthorized_401": "unauthorized",
    "payment_402": "payment_required",
    "forbidden_403": "forbidden",
    "not_found_404": "not_found",
    "status 302": "unexpected_status",
    "status 405": "unexpected_status",
    "refused connection": "unreachable",
}
REJECTED = ("reject_400", "reject_422", "status 413", "status 415")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    at_once = ("--queue", "0", "--median", "0", "--spread", "0")
    with watched_sandbox(tmp_path_factory.mktemp("provider"), *at_once) as running:
        yield running


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture
def shop(tmp_path: Path, provider: Sandbox, broker: str) -> Iterator[ServedShop]:
    provider.faults()
    made = ServedShop(tmp_path, broker, provider.base_url)
    yield made
    made.close()


@pytest.fixture
def nowhere() -> Iterator[str]:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}/api/v1"


def fault(name: str) -> dict[str, object]:
    """Met once; `status 504` is the sandbox's fault for a status of one's choice."""
    kind, _, status = name.partition(" ")
    shape: dict[str, object] = {"on": "submit", "kind": kind, "count": 1, "seconds": 20}
    return shape | {"status": int(status)} if status else shape


def meets(shop: ServedShop, provider: Sandbox, name: str, nowhere: str) -> None:
    """The next POST meets just this."""
    shop.cut_off = nowhere if name == "refused connection" else None
    provider.faults(*([] if shop.cut_off else [fault(name)]))
    assert shop.send() == 1
    shop.cut_off = None
    provider.faults()


def lose_one(shop: ServedShop, provider: Sandbox, kind: str = "lost_answer_after_commit") -> None:
    shop.submit()
    meets(shop, provider, kind, "")
    assert shop.row().state == "unknown"


def one_purchase(shop: ServedShop, provider: Sandbox, before: int, *, rows: int = 1) -> None:
    """From outside: every row charged once, whatever was sent, under one key and with one body."""
    assert provider.charges == before + rows
    assert provider.ledger()["charged_twice"] == 0
    assert len({(post.key, post.body) for post in shop.posts}) == rows
    assert [(row.state, row.hold_nanos) for row in shop.rows()] == [("succeeded", 0)] * rows
    assert [row.actual_nanos for row in shop.rows()] == [PRICE] * rows


@pytest.mark.parametrize("kind", [*LOST, *LOST_BEFORE])
def test_a_lost_answer_is_asked_for_again(shop: ServedShop, provider: Sandbox, kind: str) -> None:
    before, asked = provider.charges, provider.ledger()["posts"]
    shop.timeout = 0.3 if kind.startswith("hang") else shop.timeout
    lose_one(shop, provider, kind)
    lost = shop.row()
    assert lost.error_code == (LOST | LOST_BEFORE)[kind]
    assert (lost.hold_nanos, lost.unresolved, lost.needs_person) == (BUDGET, True, None)
    assert provider.charges == before + (kind in LOST)
    began = time.monotonic()  # before the wait is known: a machine may stand still in between
    wait = shop.wait_ms
    sent = shop.send()
    assert sent == 0 or (time.monotonic() - began) * 1000 >= wait, "not before it is due"
    shop.timeout = 5.0
    shop.to_the_end()
    one_purchase(shop, provider, before)
    assert provider.ledger()["posts"] == int(str(asked)) + 2
    assert shop.row().first_sent_at == lost.first_sent_at


@pytest.mark.parametrize("second", [*COSTLESS, *REJECTED, "conflict_409", "error_500", "empty"])
def test_a_later_try_never_speaks_for_a_lost_one(
    shop: ServedShop, provider: Sandbox, nowhere: str, second: str
) -> None:
    before = provider.charges
    lose_one(shop, provider)
    lost = shop.row()
    shop.until_due()
    meets(shop, provider, second, nowhere)
    again = shop.row()
    expected = "rejected" if second in REJECTED else (COSTLESS | LOST_BEFORE)[second]
    assert (again.state, again.error_code) == ("unknown", expected)
    assert (again.hold_nanos, again.first_sent_at) == (BUDGET, lost.first_sent_at)
    assert (again.unresolved, again.tries, again.needs_person) == (True, 2, None)
    assert shop.closed() == ([expected] if second in COSTLESS else [])
    shop.to_the_end()
    one_purchase(shop, provider, before)
    assert shop.row().first_sent_at == lost.first_sent_at


@pytest.mark.parametrize("only", COSTLESS)
def test_a_try_that_cost_nothing_frees_its_hold(
    shop: ServedShop, provider: Sandbox, nowhere: str, only: str
) -> None:
    before = provider.charges
    batch = shop.submit()
    meets(shop, provider, only, nowhere)
    row = shop.row()
    assert (row.state, row.hold_nanos, row.first_sent_at) == ("pending", 0, None)
    assert shop.batch(batch).held_nanos == 0
    assert shop.closed() == [COSTLESS[only]]
    assert shop.send() == 0, "the gate is closed"
    shop.to_the_end()
    one_purchase(shop, provider, before)


@pytest.mark.parametrize("only", REJECTED)
def test_refused_input_is_final_and_free(shop: ServedShop, provider: Sandbox, only: str) -> None:
    before = provider.charges
    batch = shop.submit()
    meets(shop, provider, only, "")
    row = shop.row()
    assert (row.state, row.hold_nanos, row.error_code) == ("rejected", 0, "rejected")
    assert shop.batch(batch).held_nanos == 0
    shop.to_the_end()
    assert len(shop.posts) == 1
    assert provider.charges == before


def test_every_kind_of_loss_in_a_row_is_one_purchase(shop: ServedShop, provider: Sandbox) -> None:
    before = provider.charges
    shop.submit()
    chain = [kind for kind in [*LOST, *LOST_BEFORE] if not kind.startswith("hang")]
    for tries, kind in enumerate(chain, start=1):
        meets(shop, provider, kind, "")
        row = shop.row()
        assert (row.state, row.hold_nanos, row.tries) == ("unknown", BUDGET, tries)
        shop.until_due()
    shop.to_the_end()
    one_purchase(shop, provider, before)
    assert len(shop.posts) == len(chain) + 1


def test_conflicts_without_end_ask_a_person_and_mint_no_key(
    shop: ServedShop, provider: Sandbox
) -> None:
    before = provider.charges
    lose_one(shop, provider)
    provider.faults({"on": "submit", "kind": "conflict_409"})
    for _ in range(8):
        shop.until_due()
        shop.send()
    row = shop.row()
    assert (row.state, row.needs_person) == ("unknown", "idempotency_conflict")
    assert row.hold_nanos == BUDGET
    assert len(shop.posts) == 6, "the first, and five conflicts"
    assert len({post.key for post in shop.posts}) == 1
    shop.later(7200)
    assert shop.deliver([row.item_id]) == 0, "not even for a message that comes late"
    assert provider.charges == before + 1


def test_a_key_that_has_grown_old_is_not_sent_again(shop: ServedShop, provider: Sandbox) -> None:
    before = provider.charges
    lose_one(shop, provider)
    shop.later(23 * 3600 + 1)
    assert shop.deliver([shop.row().item_id]) == 0
    shop.upkeep()
    row = shop.row()
    assert (row.state, row.needs_person, row.hold_nanos) == ("unknown", "key_expired", BUDGET)
    assert shop.send() == 0
    assert (len(shop.posts), provider.charges) == (1, before + 1)


@pytest.mark.parametrize(
    ("kind", "after"), [("rate_limit_429", "pending"), ("error_503_after_commit", "unknown")]
)
def test_the_whole_fleet_waits_as_long_as_the_provider_asks(
    shop: ServedShop, provider: Sandbox, kind: str, after: str
) -> None:
    before = provider.charges
    shop.submit(name="first")
    provider.faults(fault(kind) | {"retry_after": "600"})
    assert shop.send() == 1
    assert shop.row().state == after
    shop.submit(name="second")
    shop.later(590)
    assert shop.send() == 0
    assert len(shop.closed()) == 1
    shop.later(11)
    assert shop.send() == 2
    shop.to_the_end()
    one_purchase(shop, provider, before, rows=2)


def test_a_key_disabled_in_the_middle_keeps_what_it_may_have_bought(
    shop: ServedShop, provider: Sandbox
) -> None:
    before = provider.charges
    lose_one(shop, provider)
    state = SandboxState(provider.state)
    (key,) = state.keys()
    state.set_disabled(key.id, True)
    try:
        for _ in range(4):
            shop.until_due()
            shop.upkeep()
            shop.send()
            row = shop.row()
            assert (row.state, row.hold_nanos, row.needs_person) == ("unknown", BUDGET, None)
    finally:
        state.set_disabled(key.id, False)
    assert shop.closed() == ["unauthorized"]
    assert len(shop.posts) == 2, "the gate is tried with a question, not with a purchase"
    shop.to_the_end()
    one_purchase(shop, provider, before)


def test_an_empty_balance_is_tried_with_one_row(shop: ServedShop, provider: Sandbox) -> None:
    before = provider.charges
    shop.submit(4, budget=None)
    provider.faults(fault("lost_answer_after_commit") | {"match": "kettle 2"})
    assert shop.send() == 4
    provider.faults({"on": "submit", "kind": "payment_402"})
    shop.submit(3, name="more", budget=None)
    shop.until_due()
    assert shop.send() > 0
    assert shop.closed() == ["payment_required"]
    for _ in range(3):
        shop.until_due()
        shop.upkeep()
        assert shop.send() == 1
    provider.faults()
    shop.to_the_end()
    one_purchase(shop, provider, before, rows=7)
