"""Pages of lists that grow without end: they take as long in a large project as in a small one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.core.paginator import Page, Paginator

from annotation.analytics.overview import MANY


class LongList(Paginator[Any]):
    """Pages of a query set, of its first 10,000 rows: to skip or count more takes long, and a search finds what is beyond."""

    object_list: Any

    @cached_property
    def count(self) -> int:
        return int(self.object_list.values("pk")[:MANY].count())  # in order, which has an index

    @property
    def is_cut(self) -> bool:
        return self.count == MANY

    def page(self, number: int | str) -> Page[Any]:
        """If there are several, a query more: what is joined and annotated is computed for the rows of the page alone."""
        page = super().page(number)
        if self.num_pages == 1:
            return page
        rows: Any = page.object_list
        page.object_list = self.object_list.filter(pk__in=list(rows.values_list("pk", flat=True)))
        return page
