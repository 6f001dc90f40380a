"""What a list has: its columns, which may be sorted by, its filters, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.models import Project

Text = Any
"""A text, which may be translated when it is shown."""
Values = dict[str, str]
"""The values of a list's filters, by their names, without those that are empty."""
MAX_VALUE_CHARS = 200
ANY = _("Any")


@dataclass(frozen=True)
class Key:
    """By what a query set is sorted: fields that are never null, each with its type, of which the last is unique. An index has to
    serve it, unless the table is small."""

    fields: tuple[tuple[str, type], ...]


SortKey = Key | Callable[[Any], Any]
"""For rows that are in memory, a function of a row; its values may be None."""


@dataclass(frozen=True)
class Column:
    """A column: of the page where it has a `label`, of the CSV where it has a `value`."""

    name: str
    label: Text = ""
    value: Callable[[Any], Any] | None = None
    key: SortKey | None = None
    is_number: bool = False
    descends: bool = False
    """Whether the first click on its head shows the highest values first."""


@dataclass(frozen=True)
class Filter:
    """A filter: a choice of some values, or else a text."""

    name: str
    label: Text
    choices: Callable[[Project], Iterable[tuple[str, Text]]] | None = None
    every: Text = ANY
    accepts: Callable[[str], bool] | None = None
    """Which values are not ignored; None for the choices, or for a text any."""
    is_field: bool = True
    """Whether the form has a field for it; those that only links set are shown while they are set."""
    describe: Callable[[Mapping[str, str]], Text] | None = None
    """What is shown in place of label and value, given all values."""
    clears: tuple[str, ...] = ()
    """The filters that are described and removed with this one."""


@dataclass(frozen=True)
class ListDefinition:
    """A list. `name`: that of its URL, too. `rows`: those that match, as a query set, `SqlRows` or a list, in any order, by the
    values of the filters and that of `sort`: a column's name, after a `-` where its highest values come first."""

    name: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...]
    rows: Callable[[Project, Values], Any]
    sort: str
    size: int = 50
    finish: Callable[[Project, list[Any]], list[Any]] | None = None
    """Adds to the rows of a page what only they need."""
    subject: Callable[[Any], int] = attrgetter("pk")
    """The id that acts on a row take."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What its query strings say in any case: by that, lists at one URL differ."""
    sorts: dict[str, SortKey] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sorts", {c.name: c.key for c in self.columns if c.key is not None})

    def read_values(self, query: Mapping[str, str]) -> Values:
        """The values of its filters in a query string. NUL, which PostgreSQL refuses, is left out."""
        values = {
            f.name: query.get(f.name, "").replace("\0", "").strip()[:MAX_VALUE_CHARS] for f in self.filters
        }
        return {
            f.name: values[f.name] for f in self.filters if values[f.name] and _accepts(f, values[f.name])
        }

    def read_sort(self, query: Mapping[str, str]) -> str:
        """The order that a query string asks for, or its own."""
        sort = query.get("sort", "")
        return sort if sort.removeprefix("-") in self.sorts and not sort.startswith("--") else self.sort


def _accepts(f: Filter, value: str) -> bool:
    return f.accepts is None or f.accepts(value)
