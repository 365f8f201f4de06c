"""Run times are folded once, whoever folds, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from orchestrator.domain.sketch import Span
from orchestrator.store import sketches
from tests.support.stores import PROVIDER, Shelf

SPANS = [("std", Span(1_000, 2_000)), ("pro", Span(5_000, 6_000)), ("std", Span(0, 3_000))]


def appended(shelf: Shelf) -> dict[str, list[tuple[int, Span]]]:
    with shelf.store.write() as tx:
        sketches.append(tx, PROVIDER, SPANS)
        sketches.append(tx, "http://elsewhere", SPANS)
        sketches.append(tx, PROVIDER, [])
    return unfolded(shelf)


def unfolded(shelf: Shelf) -> dict[str, list[tuple[int, Span]]]:
    with shelf.store.read() as tx:
        return sketches.unfolded(tx, PROVIDER, 10)


def put(shelf: Shelf, version: int, ids: list[int], text: str = "[[1,2]]") -> bool:
    with shelf.store.write() as tx:
        return sketches.put(
            tx, PROVIDER, "std", version=version, sketch_json=text, plan_json="null", folded=ids
        )


def test_run_times_wait_by_price_class_in_their_order(shelf: Shelf) -> None:
    found = appended(shelf)
    assert [span for _, span in found["std"]] == [Span(1_000, 2_000), Span(0, 3_000)]
    assert [span for _, span in found["pro"]] == [Span(5_000, 6_000)]


def test_a_slower_fold_changes_nothing_and_loses_nothing(shelf: Shelf) -> None:
    ids = [row_id for row_id, _ in appended(shelf)["std"]]
    assert put(shelf, 0, ids[:1])
    assert not put(shelf, 0, ids, "[[9,9]]")
    with shelf.store.read() as tx:
        assert sketches.known(tx, PROVIDER, "std") == sketches.Known(1, "[[1,2]]")
    assert [row_id for row_id, _ in unfolded(shelf)["std"]] == ids[1:]
    assert put(shelf, 1, ids[1:])
    assert set(unfolded(shelf)) == {"pro"}


def test_only_versions_are_read_until_something_changes(shelf: Shelf) -> None:
    assert put(shelf, 0, [])
    with shelf.store.read() as tx:
        assert sketches.versions(tx, PROVIDER) == {"std": 1}
        assert sketches.plans(tx, PROVIDER, ["std"]) == {"std": "null"}
        assert sketches.known(tx, "http://elsewhere", "std") is None
