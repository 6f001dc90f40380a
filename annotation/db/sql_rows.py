"""Rows of an SQL query that pages of a list are read of, where the query is none that Django's query sets write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db import connection

Row = TypeVar("Row")

PAGE = """
WITH found AS {materialized} ({sql})
SELECT {columns}, page.counted FROM (
    SELECT *, {count} AS counted FROM found {where} ORDER BY {order} LIMIT %(limit)s
) AS page {joins} ORDER BY {order}
"""
COUNT = "(SELECT count(*) FROM (SELECT FROM {source} LIMIT %(most)s) AS first_ones)"


@dataclass(frozen=True)
class SqlRows(Generic[Row]):
    """Rows in any order of the query's columns, from any position on. `joins` are joined to the rows of a page, `page`, alone, of
    which `columns` are selected; `make` makes a row of them. counts_to: how many there are, up to this number, is counted while a
    page is read, for a query that takes long."""

    sql: str
    make: Callable[..., Row]
    values: Mapping[str, Any] = field(default_factory=dict)
    columns: str = "page.*"
    joins: str = ""
    counts_to: int = 0
    _counted: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

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
            # otherwise the page's order reaches the query's indexes
            materialized="MATERIALIZED" if self.counts_to else "NOT MATERIALIZED",
            count=COUNT.format(source="found") if self.counts_to else "NULL",
            columns=self.columns,
            sql=self.sql,
            where=f"WHERE {compared}" if parameters else "",
            order=", ".join(f"{name}{direction}" for name in names),
            joins=self.joins,
        )
        with connection.cursor() as cursor:
            cursor.execute(query, {**self.values, **parameters, "limit": limit, "most": self.counts_to})
            rows = cursor.fetchall()
        if self.counts_to and (rows or not after):
            self._counted[:] = [rows[0][-1] if rows else 0]
        return [self.make(*row[:-1]) for row in rows]

    def count_up_to(self, most: int) -> int:
        """How many there are; `most` if there are more. No query where a page was read that counted as many."""
        if self._counted and most == self.counts_to:
            return self._counted[0]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {COUNT.format(source=f'({self.sql}) AS found')}",
                {**self.values, "most": most},
            )
            return int(cursor.fetchone()[0])
