"""A list as a query string asks for it: filtered, sorted, and a page of it; and the same rows as CSV."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from annotation.analytics.overview import MANY
from annotation.db.sql_rows import SqlRows
from annotation.lists.definition import Column, Filter, Key, ListDefinition, Text, Values
from annotation.lists.keyset import RowPage, read_all, read_page
from annotation.logic.csv_text import write_rows
from annotation.models import Project


@dataclass(frozen=True)
class Head:
    """The head of a column. `sorted`: `ascending`, `descending` or nothing; `query`: what a click on it asks for, empty where
    the column cannot be sorted by."""

    column: Column
    sorted: str
    query: str


@dataclass(frozen=True)
class Field:
    """A filter's field in the form; `choices` are None for a text."""

    filter: Filter
    value: str
    choices: list[tuple[str, Text]] | None


@dataclass(frozen=True)
class Chip:
    """A filter that is set, in words, and the query string without it."""

    label: Text
    value: Text
    query: str


class Listing:
    """The rows of a list that match a query string."""

    def __init__(self, definition: ListDefinition, project: Project, query: Mapping[str, str]) -> None:
        self.definition, self.project = definition, project
        self._position = {name: query[name] for name in ("before", "after") if query.get(name)}
        self.sort = definition.read_sort(query)
        values = definition.read_values(query)
        chosen = [f for f in definition.filters if f.choices and not f.accepts and f.name in values]
        unknown = {f.name for f in chosen if values[f.name] not in dict(self._choices(f) or ())}
        self.values: Values = {name: value for name, value in values.items() if name not in unknown}

    @cached_property
    def rows(self) -> Any:
        """All that match: a query set, or a list."""
        return self.definition.rows(self.project, self.values | {"sort": self.sort})

    @cached_property
    def page(self) -> RowPage:
        page = read_page(
            self.rows,
            self._key[0],
            descending=self._key[1],
            size=self.definition.size,
            query=self._position,
        )
        finish = self.definition.finish
        return RowPage(finish(self.project, page.rows), page.newer, page.older) if finish else page

    @cached_property
    def count(self) -> int:
        """How many match; `MANY` if there are more."""
        if isinstance(self.rows, SqlRows):
            _ = self.page  # which may have counted them
            return self.rows.count_up_to(MANY)
        return (
            len(self.rows)
            if isinstance(self.rows, list)
            else self.rows.order_by().values("pk")[:MANY].count()
        )

    def first_ids(self, limit: int) -> list[int]:
        """The ids of what the first rows that match are about, in the list's order, each once."""
        found = next(read_all(self.rows, self._key[0], descending=self._key[1], size=limit), [])
        return list(dict.fromkeys(map(self.definition.subject, found)))

    @property
    def is_narrowed(self) -> bool:
        return bool(self.values)

    @property
    def path(self) -> str:
        return reverse(self.definition.name, args=[self.project.slug])

    @property
    def address(self) -> str:
        """That of the list without filters, in its own order."""
        return self.path + (f"?{urlencode(self.definition.parameters)}" if self.definition.parameters else "")

    @property
    def query(self) -> str:
        """The query string of the filters and the order, without the position; empty where they are the list's own."""
        return self._query().removesuffix("?")

    @property
    def newer(self) -> str:
        return self._query(before=self.page.newer) if self.page.newer else ""

    @property
    def older(self) -> str:
        return self._query(after=self.page.older) if self.page.older else ""

    @property
    def is_by_time(self) -> bool:
        """Whether the newest come first: then the pages beside this one are newer and older."""
        return self.sort == self.definition.sort and isinstance(self._key[0], Key) and self._key[1]

    @property
    def csv(self) -> str:
        return self._query(format="csv")

    @property
    def heads(self) -> list[Head]:
        """Those of the columns that the page shows."""
        return [self._head(column) for column in self.definition.columns if column.label]

    @cached_property
    def fields(self) -> list[Field]:
        shown = [f for f in self.definition.filters if f.is_field or f.name in self.values]
        fields = [
            Field(f, self.values.get(f.name, ""), self._choices(f) if f.is_field else None) for f in shown
        ]
        return [field for field in fields if field.choices is None or len(field.choices) > 1 or field.value]

    @property
    def chips(self) -> list[Chip]:
        found = [f for f in self.definition.filters if f.name in self.values]
        beside = {name for f in found for name in f.clears}
        return [self._chip(f) for f in found if f.name not in beside]

    def csv_lines(self) -> Generator[bytes, None, None]:
        """All that match, as CSV with a byte order mark, by which Excel knows UTF-8. Its times are in the zone of now."""
        return self._csv_lines(timezone.get_current_timezone())

    def _csv_lines(self, zone: tzinfo) -> Generator[bytes, None, None]:
        columns = {column.name: column.value for column in self.definition.columns if column.value}
        yield ("\ufeff" + write_rows([[*columns]])).encode()
        for rows in read_all(self.rows, self._key[0], descending=self._key[1]):
            if self.definition.finish:
                rows = self.definition.finish(self.project, rows)
            yield write_rows(
                [[_cell(value(row), zone) for value in columns.values()] for row in rows]
            ).encode()

    @property
    def _key(self) -> tuple[Any, bool]:
        return self.definition.sorts[self.sort.removeprefix("-")], self.sort.startswith("-")

    def _query(self, **changes: str) -> str:
        own = {} if self.sort == self.definition.sort else {"sort": self.sort}
        values = {**self.definition.parameters, **self.values, **own, **changes}
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def _choices(self, f: Filter) -> list[tuple[str, Text]] | None:
        known = vars(self).setdefault("_known", {})
        if f.name not in known:
            known[f.name] = list(f.choices(self.project)) if f.choices else None
        return known[f.name]

    def _head(self, column: Column) -> Head:
        if column.key is None:
            return Head(column, "", "")
        name, descends = column.name, column.descends
        if self.sort.removeprefix("-") == name:
            descends = not self.sort.startswith("-")
            return Head(column, "ascending" if descends else "descending", self._sorted(name, descends))
        return Head(column, "", self._sorted(name, descends))

    def _sorted(self, name: str, descends: bool) -> str:
        sort = f"-{name}" if descends else name
        return self._query(sort="" if sort == self.definition.sort else sort)

    def _chip(self, f: Filter) -> Chip:
        value: Text = self.values[f.name]
        if f.describe:
            value = f.describe(self.values)
        elif f.choices and f.is_field:
            value = dict(self._choices(f) or ()).get(value, value)
        without = self._query(**dict.fromkeys((f.name, *f.clears), ""))
        return Chip("" if f.describe else f.label, value, without)


def _cell(value: Any, zone: tzinfo) -> Any:
    """A value as CSV files have it: times in ISO 8601 in the zone, shares with four digits."""
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="seconds")
    if isinstance(value, float):
        return round(value, 4)
    if value is None or isinstance(value, int):
        return "" if value is None else value
    return str(value)
