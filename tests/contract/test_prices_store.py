"""The price book: an answer counts more than a file, on both databases."""

from __future__ import annotations

from orchestrator.domain.money import parse_amount
from orchestrator.services.pricing import disagreements, origin
from orchestrator.store import batches, prices
from tests.support.stores import PRICE, PROVIDER, Shelf, row

LISTED = {"std": parse_amount("0.03"), "pro": parse_amount("0.09")}


def test_a_listed_price_counts_until_the_provider_names_its_own(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        prices.put_listed(tx, PROVIDER, LISTED, "old.yaml")
        prices.put_listed(tx, PROVIDER, LISTED, "prices.yaml")
        book = prices.book(tx, PROVIDER)
        assert prices.known(tx, PROVIDER) == {"std": PRICE.nanos, "pro": 90_000_000}
        assert prices.known(tx, "elsewhere") == {}
    assert origin(book["pro"]).startswith("from prices.yaml, 20")
    assert origin(book["std"]).startswith("learned 20")
    (told,) = disagreements(book, ["std", "pro"])
    assert "the provider asks 0.0414 USD" in told
    assert disagreements(book, ["pro"]) == []


def test_a_plan_shows_the_book_as_a_submit_would_leave_it(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        before = prices.book(tx, PROVIDER)
        shown = prices.overlay(before, LISTED, "prices.yaml", tx.now)
        assert prices.book(tx, PROVIDER) == before
        prices.put_listed(tx, PROVIDER, LISTED, "prices.yaml")
        assert prices.book(tx, PROVIDER) == shown


def test_a_budget_works_without_a_probe(shelf: Shelf) -> None:
    shelf.publish(*[row(f"r{i}", "pro") for i in range(3)])
    with shelf.store.write() as tx:
        batches.set_budget(tx, shelf.batch_id, 270_000_000, actor="me", detail="")
        prices.put_listed(tx, PROVIDER, LISTED, "prices.yaml")
    # Of an unknown price only one would have gone.
    assert len(shelf.claim("r0", "r1", "r2")) == 3
    assert shelf.batch.held_nanos == 270_000_000
