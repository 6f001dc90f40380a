"""Pages of lists by keys: a page begins after the last row of the one before, so that each takes as long as the first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from django.db.models import F
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan

from annotation.db.sql_rows import SqlRows
from annotation.lists.definition import Key, SortKey

CSV_ROWS = 1000
"""Rows that a CSV file reads at once."""
SLOW_CSV_ROWS = 20_000
"""Likewise, where each part takes a query that takes long."""


@dataclass(frozen=True)
class RowPage:
    """Some rows of a list. `newer` and `older` are the positions (`before` and `after` in a query string) from which the pages
    beside it are read; empty where there is none."""

    rows: list[Any]
    newer: str = ""
    older: str = ""


def read_page(rows: Any, key: SortKey, *, descending: bool, size: int, query: Mapping[str, str]) -> RowPage:
    """The page at the position in a query string; the first one where there is none, or nothing is before it."""
    read = SortedRows(rows, key, descending)
    before, after = query.get("before", ""), query.get("after", "")
    if before and (found := read.before(before, size + 1)):
        if len(found) > size:
            found = found[-size:]
            return RowPage(found, newer=read.position(found[0]), older=read.position(found[-1]))
        after = ""  # the first page, in full
    found = read.after(after, size + 1) if after else []
    is_first = not found
    found = found or read.after("", size + 1)
    more, found = len(found) > size, found[:size]
    return RowPage(
        found,
        newer="" if is_first else read.position(found[0]),
        older=read.position(found[-1]) if more else "",
    )


def read_all(rows: Any, key: SortKey, *, descending: bool, size: int = 0) -> Generator[list[Any], None, None]:
    """All rows, so many at a time, each a query of its own: no connection waits for a slow client."""
    size = size or (SLOW_CSV_ROWS if isinstance(rows, SqlRows) and rows.counts_to else CSV_ROWS)
    read = SortedRows(rows, key, descending)
    found = read.after("", size)
    while found:
        yield found
        found = read.after(read.position(found[-1]), size) if len(found) == size else []


class SortedRows:
    """Rows in an order, read from a position on. The position of a row is the values of its key; of rows in memory, its id."""

    def __init__(self, rows: Any, key: SortKey, descending: bool) -> None:
        self.key, self.descending = key, descending
        self.rows: Any = rows if isinstance(key, Key) else _sort(rows, key, descending)

    def position(self, row: Any) -> str:
        if not isinstance(self.key, Key):
            return str(_id(row))
        return ",".join(str(_attribute(row, name)) for name, _type in self.key.fields)

    def is_position(self, text: str) -> bool:
        """Whether it is the position of a row; of rows in memory, of one that is still there."""
        return self._parse(text) is not None if isinstance(self.key, Key) else self._place(text) >= 0

    def after(self, position: str, limit: int) -> list[Any]:
        """The first rows after a position, or of all; empty where it is not one."""
        if not isinstance(self.key, Key):
            start = 0 if not position else self._place(position) + 1
            return self.rows[start : start + limit] if start or not position else []
        return self._query(position, limit, self.descending)

    def before(self, position: str, limit: int) -> list[Any]:
        """The last rows before a position."""
        if not isinstance(self.key, Key):
            place = self._place(position)
            return self.rows[max(0, place - limit) : place] if place > 0 else []
        return self._query(position, limit, not self.descending)[::-1]

    def all(self) -> list[Any]:
        """All rows, which are in memory."""
        return list(self.rows)

    def _place(self, position: str) -> int:
        return next((n for n, row in enumerate(self.rows) if str(_id(row)) == position), -1)

    def _query(self, position: str, limit: int, descending: bool) -> list[Any]:
        assert isinstance(self.key, Key)
        names = [name for name, _type in self.key.fields]
        if isinstance(self.rows, SqlRows):
            parsed = self._parse(position) if position else ()
            return (
                []
                if parsed is None
                else self.rows.read(names, limit=limit, after=parsed, descending=descending)
            )
        ordered = rows = self.rows.order_by(*(f"-{name}" if descending else name for name in names))
        if position:
            values = self._parse(position)
            if values is None:
                return []
            compare = TupleLessThan if descending else TupleGreaterThan
            rows = rows.filter(compare(tuple(map(F, names)), values))
        if not rows.query.annotations:
            return list(rows[:limit])
        # what is annotated would be planned as if for all rows: it is computed for those of the page alone
        ids = list(rows.values_list("pk", flat=True)[:limit])
        return list(ordered.filter(pk__in=ids)) if ids else []

    def _parse(self, position: str) -> tuple[Any, ...] | None:
        assert isinstance(self.key, Key)
        texts = position[:200].replace("\0", "").split(",")
        try:
            values = tuple(kind(text) for (_name, kind), text in zip(self.key.fields, texts, strict=True))
        except ValueError:
            return None
        return None if any(isinstance(value, int) and abs(value) >= 2**63 for value in values) else values


def _sort(rows: list[Any], key: Callable[[Any], Any], descending: bool) -> list[Any]:
    """Rows without a value come last either way; equals stay in the order in which they came."""
    have = [row for row in rows if key(row) is not None]
    return sorted(have, key=key, reverse=descending) + [row for row in rows if key(row) is None]


def _id(row: Any) -> int:
    return int(row.pk)


def _attribute(row: Any, path: str) -> Any:
    return reduce(getattr, path.split("__"), row)
