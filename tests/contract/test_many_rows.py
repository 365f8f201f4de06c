"""Writes of many rows, and conditions on many ids; on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from orchestrator.domain.submission import Submission
from orchestrator.errors import ServiceError
from orchestrator.store import claims, lives
from orchestrator.store import tables as t
from orchestrator.store.among import among
from orchestrator.store.claims import Candidate
from orchestrator.store.engine import Tx
from orchestrator.store.lives import Stored
from orchestrator.store.many import insert_many, update_many
from tests.support.stores import Shelf

COLUMNS = ("at", "actor", "batch_id", "event", "item_id", "state", "detail")
READ = select(*(t.history.c[name] for name in COLUMNS)).order_by(t.history.c.at)
Values = tuple[object, ...]

ODD = 'a "quoted"\n\\ tab\t, {b} \N{SNOWMAN} and NULL'


def fill(tx: Tx, *rows: tuple[int, int | None, str | None, str | None]) -> None:
    """Rows of (at, item id, state, detail), and nothing else."""
    tx.conn.execute(t.history.delete())
    insert_many(tx, t.history, COLUMNS, [(at, "me", 1, "x", *rest) for at, *rest in rows])


def read(tx: Tx) -> list[Values]:
    return [(at, *rest) for at, _, _, _, *rest in tx.conn.execute(READ)]


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 7, "a", ODD), (2, 8, "b", ODD)],
        [(1, 7, None, None), (2, 8, None, None)],
        [(1, None, "a", None), (2, 8, None, ODD)],
        [(1, None, None, None)],
        [],
    ],
)
def test_values_and_nulls_come_back_as_they_were_given(shelf: Shelf, rows: list[Values]) -> None:
    with shelf.store.write() as tx:
        fill(tx, *rows)  # type: ignore[arg-type]
        assert read(tx) == rows


@pytest.mark.parametrize(
    "new",
    [
        pytest.param([("c", ODD), ("d", "other")], id="each its own"),
        pytest.param([("c", ODD), ("c", ODD)], id="all the same"),
        pytest.param([("c", None), ("d", None)], id="one column null"),
        pytest.param([(None, None), (None, None)], id="all null"),
        pytest.param([(None, "x"), ("d", None)], id="some null"),
    ],
)
def test_each_row_gets_what_is_meant_for_it(
    shelf: Shelf, new: list[tuple[str | None, str | None]]
) -> None:
    with shelf.store.write() as tx:
        fill(tx, (1, 7, "a", "was"), (2, 8, "b", "was"), (3, 9, "a", "stays"))
        given = [(*values, at) for at, values in enumerate(new, start=1)]
        update_many(tx, t.history, ("state", "detail"), ("at",), given)
        assert read(tx) == [(1, 7, *new[0]), (2, 8, *new[1]), (3, 9, "a", "stays")]


def test_only_what_is_as_given_is_changed_null_being_equal_to_null(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        fill(tx, (1, None, "a", None), (2, 8, "a", None), (3, 9, "a", None), (4, None, "z", None))
        given = [("new", at, item) for at, item in ((1, None), (2, None), (3, 9), (4, None))]
        update_many(tx, t.history, ("detail",), ("at", "item_id"), given, where="old.state <> 'z'")
        assert [row[-1] for row in read(tx)] == ["new", None, "new", None]
        update_many(tx, t.history, ("detail",), ("at", "item_id"), [("later", 1, None)])
        update_many(tx, t.history, ("detail",), ("at",), [])
        assert [row[-1] for row in read(tx)] == ["later", None, "new", None]


@pytest.mark.parametrize("unresolved", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("due_at", [(1 << 52, 1 << 52), (0, 1 << 52), (1, 1)])
def test_numbers_and_truths_keep_their_types(
    shelf: Shelf, unresolved: tuple[bool, bool], due_at: tuple[int, int]
) -> None:
    shelf.publish("a", "b")
    held = [one.id for one in shelf.claim("a", "b").values()]
    s = t.submissions.c
    with shelf.store.write() as tx:
        given = list(zip(unresolved, due_at, (1, 1), held, strict=True))
        update_many(tx, t.submissions, ("unresolved", "due_at", "tries"), ("id",), given)
        query = select(s.unresolved, s.due_at, s.tries, s.id).order_by(s.id)
        found = [tuple(row) for row in tx.conn.execute(query)]
    assert found == sorted(given, key=lambda row: row[-1])
    assert {type(row[0]) for row in found} == {bool}


def test_what_may_not_be_null_is_not_filled_with_a_default(shelf: Shelf) -> None:
    columns = ("digest", "model", "input_json", "used_at")
    with pytest.raises(ServiceError, match=r"(?i)null"), shelf.store.write() as tx:
        insert_many(tx, t.inputs, columns, [("d", "m", "{}", None)])


def test_what_is_read_by_position_is_selected_in_that_order() -> None:
    item = [column.key for column in claims._ITEM]
    assert [*item, "input_json"] == list(Candidate._fields)
    stored = [column.key for column in lives._COLUMNS]
    assert stored == [*Stored._fields[:-1], *Submission._fields]


@pytest.mark.parametrize("ids", [[], [2], [3, 1, 99, 1], range(1, 2000)])
def test_ids_of_any_number_are_one_parameter(shelf: Shelf, ids: list[int]) -> None:
    query = select(t.history.c.at).where(among(t.history.c.at)).order_by(t.history.c.at)
    with shelf.store.write() as tx:
        fill(tx, *((at, None, None, None) for at in (1, 2, 3)))
        found = list(tx.conn.execute(query, {"ids": ids}).scalars())
        assert found == sorted({1, 2, 3} & set(ids))
