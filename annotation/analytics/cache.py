"""Figures of a large project are kept for a while: counting them again at every look would cost more than they change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from django.core.cache import cache

from annotation.analytics.filters import Filters
from annotation.models import Project

Figure = TypeVar("Figure")

QUICK_S = 0.5
TIMES_AS_LONG = 30
MAX_S = 300.0


def kept(project: Project, filters: Filters, *what: str, count: Callable[[], Figure]) -> Figure:
    """What `count` returns, which may be as old as thirty times what it took, and five minutes at most. What is counted
    quickly is counted anew."""
    since = "" if filters.days or filters.since is None else filters.since.isoformat()
    name = "|".join((str(project.pk), str(project.k), filters.query, since, *what))
    key = f"analytics:{hashlib.sha256(name.encode()).hexdigest()}"
    found: Figure | None = cache.get(key)
    if found is None:
        began = perf_counter()
        found = count()
        took = perf_counter() - began
        if took > QUICK_S:
            cache.set(key, found, min(MAX_S, TIMES_AS_LONG * took))
    return found
