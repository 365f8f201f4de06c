"""Conditions on ids that are given as one parameter, or found once by a query.

SQLAlchemy writes an IN of parameters anew for each call, and PostgreSQL reads it anew: with two
hundred ids both take longer than the look-up itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from sqlalchemy import Dialect, Select, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType


class _Ids(UserDefinedType[Iterable[int]]):
    """As text: an array of PostgreSQL's, or JSON."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_options: Any) -> str:
        return "BIGINT[]"

    def bind_processor(self, dialect: Dialect) -> Callable[[Iterable[int] | None], str]:
        form = "{%s}" if dialect.name == "postgresql" else "[%s]"
        return lambda ids: form % ",".join(map(str, ids or ()))


class _Among(FunctionElement[Any]):
    inherit_cache = True


def among(column: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether an integer column is one of the parameter `ids`."""
    return cast("ColumnElement[bool]", _Among(column, bindparam("ids", type_=_Ids())))


class _OneOf(FunctionElement[Any]):
    inherit_cache = True


def one_of(column: ColumnElement[int], found: Select[tuple[int]]) -> ColumnElement[bool]:
    """Whether a column is one of the few integers that a query of its own finds.

    An IN PostgreSQL may turn round: read all rows for each that the query finds, and sort them,
    where the first few in an index's order were wanted.
    """
    return cast("ColumnElement[bool]", _OneOf(column, found.scalar_subquery()))


def _write(kind: type[FunctionElement[Any]], dialect: str, form: str) -> None:
    """How one of these conditions, its column and its values are written for a database."""

    @compiles(kind, dialect)
    def written(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
        return form.format(*(compiler.process(part, **options) for part in element.clauses))


_write(_Among, "postgresql", "{} = ANY ({})")
_write(_Among, "sqlite", "{} IN (SELECT value FROM json_each({}))")
_write(_OneOf, "postgresql", "{} = ANY (ARRAY{})")
_write(_OneOf, "sqlite", "{} IN {}")
