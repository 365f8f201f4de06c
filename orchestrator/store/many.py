"""Writing many rows, each database in its own fastest way; values are not adapted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import DBAPIError

from orchestrator.store.engine import Tx

Column = tuple[object, ...]
"""One column's values, a row's each."""


def insert_or(tx: Tx, table: Table) -> Any:
    """INSERT in the database's own dialect, which can say what to do ON CONFLICT: both alike."""
    dialect = postgresql if tx.locks_rows else sqlite_dialect
    return dialect.insert(table)


def insert_ignoring(tx: Tx, table: Table) -> Any:
    """INSERT that passes over rows which are there already."""
    return insert_or(tx, table).on_conflict_do_nothing()


def insert_many(
    tx: Tx, table: Table, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    """INSERT of many rows, as fast as the database takes them; their values are not adapted.

    A column that may be null and has no value in any row is left out.
    """
    values: list[Column] = list(zip(*rows, strict=True))
    if not values:
        return
    needed = {at for at, name in enumerate(columns) if not table.c[name].nullable}
    used = sorted({*_with_values(values), *needed})
    names = ", ".join(columns[at] for at in used)
    if not tx.locks_rows:
        marks = ", ".join("?" * len(used))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"
        tx.conn.exec_driver_sql(statement, _rows(values, used))
        return
    statement = f"COPY {table.name} ({names}) FROM STDIN"
    driver: Any = tx.conn.connection.driver_connection
    dbapi: Any = tx.conn.dialect.dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in _rows(values, used):
                copy.write_row(row)
    except dbapi.Error as error:
        raise DBAPIError(statement, None, error) from error


def insert_or_use(
    tx: Tx, table: Table, columns: Sequence[str], rows: Iterable[tuple[str | None, ...]]
) -> None:
    """`insert_many` for columns of text and `used_at`, which alone is set anew in rows there are.

    In the order of the first column, the key: two who insert the same rows then never wait for each
    other in a circle, and the index is walked one way. Whoever drops what is unused waits for its
    rows, and sees that they are used.
    """
    ordered = sorted({row[0]: row for row in rows}.values(), key=lambda row: row[0] or "")
    if not ordered:
        return
    names = ", ".join((*columns, "used_at"))
    used = f"ON CONFLICT ({columns[0]}) DO UPDATE SET used_at = excluded.used_at"
    if not tx.locks_rows:
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}, {tx.now}) {used}"
        tx.conn.exec_driver_sql(statement, ordered)
        return
    # One JSON text: the driver escapes each element of an array by itself, in Python.
    fields = ", ".join(f"value->>{at}" for at in range(len(columns)))
    tx.conn.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {fields}, {tx.now} "
        f"FROM json_array_elements(%s::json) AS given (value) {used}",
        (json.dumps(ordered, ensure_ascii=False),),
    )


def update_many(
    tx: Tx,
    table: Table,
    put: Sequence[str],
    match: Sequence[str],
    rows: Sequence[tuple[object, ...]],
    *,
    where: str | None = None,
) -> None:
    """UPDATE of many rows, each with its own values: those of `put`, then those of `match`.

    A row is changed where all of `match` are as given, null being equal to null, and `where` holds.
    """
    if not rows:
        return
    columns: list[Column] = list(zip(*rows, strict=True))
    update = _update_at_once if tx.locks_rows else _update_each
    update(tx, _Update(table, tuple(put), tuple(match), where), columns)


class _Update(NamedTuple):
    """Its columns are numbered: those of `put` first, from 0."""

    table: Table
    put: tuple[str, ...]
    match: tuple[str, ...]
    where: str | None

    def setting(self, values: Sequence[str], *, same: str) -> tuple[str, str]:
        """What follows SET and WHERE, with the SQL of each column's value; `same` for nullable."""
        sets = zip(self.put, values, strict=False)
        fence = [
            f"old.{name} {same if self.table.c[name].nullable else '='} {value}"
            for name, value in zip(self.match, values[len(self.put) :], strict=True)
        ]
        also = [] if self.where is None else [self.where]
        return ", ".join(f"{name} = {value}" for name, value in sets), " AND ".join(fence + also)


def _update_each(tx: Tx, wanted: _Update, columns: Sequence[Column]) -> None:
    used = _with_values(columns)
    tx.conn.exec_driver_sql(_each(wanted, tuple(used)), _rows(columns, used))


@cache
def _each(wanted: _Update, used: tuple[int, ...]) -> str:
    """For one row of values, to be executed for each; what is not `used` is null."""
    numbers = range(len(wanted.put) + len(wanted.match))
    values = ["?" if at in used else "NULL" for at in numbers]
    sets, where = wanted.setting(values, same="IS")
    return f"UPDATE {wanted.table.name} AS old SET {sets} WHERE {where}"


def _update_at_once(tx: Tx, wanted: _Update, columns: Sequence[Column]) -> None:
    """Values that all rows share are parameters; the others travel as one JSON text.

    As an array, the driver would escape each by itself, in Python.
    """
    shared = [at for at in range(len(wanted.put)) if _is_one_value(columns[at])]
    own = [at for at in range(len(columns)) if at not in shared]
    names = [f"c{at}" for at in own]
    given = [dict(zip(names, row, strict=True)) for row in _rows(columns, own)]
    values = (*(columns[at][0] for at in shared), json.dumps(given, ensure_ascii=False))
    tx.conn.exec_driver_sql(_at_once(wanted, tuple(shared)), values)


@cache
def _at_once(wanted: _Update, shared: tuple[int, ...]) -> str:
    """For the shared values and a JSON array of objects, with a row's other values each."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = [wanted.table.c[name].type.compile(dialect) for name in (*wanted.put, *wanted.match)]
    values = [
        f"CAST(%s AS {kind})" if at in shared else f"new.c{at}" for at, kind in enumerate(types)
    ]
    sets, where = wanted.setting(values, same="IS NOT DISTINCT FROM")
    own = ", ".join(f"c{at} {kind}" for at, kind in enumerate(types) if at not in shared)
    return (
        f"UPDATE {wanted.table.name} AS old SET {sets} "
        f"FROM json_to_recordset(CAST(%s AS json)) AS new({own}) WHERE {where}"
    )


def _with_values(columns: Sequence[Column]) -> list[int]:
    """Those with a value in any row; the driver of SQLite takes longer over a null than a value."""
    return [at for at, column in enumerate(columns) if column.count(None) < len(column)]


def _rows(columns: Sequence[Column], chosen: Sequence[int]) -> list[tuple[object, ...]]:
    """The rows' values in the chosen columns."""
    return list(zip(*(columns[at] for at in chosen), strict=True))


def _is_one_value(column: Column) -> bool:
    return column.count(column[0]) == len(column)
