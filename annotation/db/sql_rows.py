"""Rows of an SQL query that pages of a list are read of, where the query is none that Django's query sets write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db import connection

Row = TypeVar("Row")

PAGE = """
SELECT {columns} FROM (
    SELECT * FROM ({sql}) AS found {where} ORDER BY {order} LIMIT %(limit)s
) AS page {joins} ORDER BY {order}
"""


@dataclass(frozen=True)
class SqlRows(Generic[Row]):
    """Rows in any order of the query's columns, from any position on. `joins` are joined to the rows of a page, `page`, alone, of
    which `columns` are selected; `make` makes a row of them."""

    sql: str
    make: Callable[..., Row]
    values: Mapping[str, Any] = field(default_factory=dict)
    columns: str = "page.*"
    joins: str = ""

    def read(
        self, names: Sequence[str], *, limit: int, after: Sequence[Any] = (), descending: bool = False
    ) -> list[Row]:
        """The first rows in the order of the columns `names`, or the first ones after those values. One query."""
        direction = " DESC" if descending else ""
        parameters = {f"after_{n}": value for n, value in enumerate(after)}
        compared = (
            f"({', '.join(names)}) {'<' if descending else '>'} ({', '.join(f'%({p})s' for p in parameters)})"
        )
        query = PAGE.format(
            columns=self.columns,
            sql=self.sql,
            where=f"WHERE {compared}" if parameters else "",
            order=", ".join(f"{name}{direction}" for name in names),
            joins=self.joins,
        )
        with connection.cursor() as cursor:
            cursor.execute(query, {**self.values, **parameters, "limit": limit})
            return [self.make(*row) for row in cursor.fetchall()]

    def count_up_to(self, most: int) -> int:
        """How many there are; `most` if there are more."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM (SELECT FROM ({self.sql}) AS found LIMIT %(most)s) AS first_ones",
                {**self.values, "most": most},
            )
            return int(cursor.fetchone()[0])
