"""Prepared statements for the hot loop of annotation, planned once a connection.

PostgreSQL takes longer to plan these statements than to run them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connection
from django.db.models import Model
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

M = TypeVar("M", bound=Model)
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class _Prepared(psycopg.RawCursor[Any]):
    """A cursor that prepares what it executes, unless the connection's `prepare_threshold` is None. It sends every integer
    as a bigint; otherwise a statement would be prepared once for each width of its integers."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.adapters.register_dumper(int, Int8BinaryDumper)
        self.adapters.register_dumper(int, Int8Dumper)

    def execute(self, query: Any, params: Any = None, **options: Any) -> _Prepared:
        super().execute(query, params, prepare=True, **options)
        if connection.queries_logged:
            self._query = self._convert_query(query, params)  # where Django looks for the text to log
        return self


def rows(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute a statement and return its rows. Outside of a transaction it is one of its own.

    Raises:
        django.db.DatabaseError: as with Django's own cursors.
    """
    connection.ensure_connection()
    raw: Any = _Prepared(connection.connection)
    # counted and logged as every other query
    cursor = connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw)
    text, names = _numbered(statement)
    with cursor:
        cursor.execute(text, [values[name] for name in names])
        return list(cursor.fetchall())


@cache
def _numbered(statement: str) -> tuple[str, list[str]]:
    """The statement with PostgreSQL's own placeholders, `$1`, and the name of each. psycopg would do it each time for texts of
    more than 4 KB."""
    names = list(dict.fromkeys(_PLACEHOLDER.findall(statement)))
    text = _PLACEHOLDER.sub(lambda match: f"${names.index(match[1]) + 1}", statement)
    return text.replace("%%", "%"), names


class Columns(Generic[M]):
    """The columns of a model in a raw statement, and instances from its rows.

    Args:
        alias: of the table in the statement.
        names: the fields to read; all of them if none is named. The others are deferred.
    """

    def __init__(self, model: type[M], alias: str, *names: str) -> None:
        fields = [f for f in model._meta.concrete_fields if not names or f.attname in names]
        self.model = model
        self.names = [field.attname for field in fields]
        self.converters = [getattr(field, "from_db_value", None) for field in fields]
        self.sql = ", ".join(f"{alias}.{field.column}" for field in fields)

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        return self.sql

    def build(self, values: Sequence[Any]) -> M:
        """A model instance from the values of these columns."""
        converted = [
            convert(value, None, connection) if convert else value
            for convert, value in zip(self.converters, values, strict=True)
        ]
        return self.model.from_db("default", self.names, converted)
