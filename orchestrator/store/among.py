"""Conditions on ids that are given as one parameter, however many they are.

SQLAlchemy writes an IN of parameters anew for each call, and PostgreSQL reads it anew: with two
hundred ids both take longer than the look-up itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from sqlalchemy import Dialect, bindparam
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


@compiles(_Among, "postgresql")
def _array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({ids})"


@compiles(_Among, "sqlite")
def _json(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"
