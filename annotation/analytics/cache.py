"""A cache for statistics that take long to compute in large projects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from django.core.cache import cache
from django.utils import timezone

from annotation.analytics.filters import Filters
from annotation.models import Project

Value = TypeVar("Value")

QUICK_S = 0.5
LIFETIME_FACTOR = 30
MAX_S = 300.0


def cached(project: Project, filters: Filters, *what: str, count: Callable[[], Value]) -> Value:
    """The result of `count`, cached for thirty times as long as it took, at most five minutes. What takes under half a second
    is not cached. `what` names the value within the project and the filters."""
    since = "" if filters.days or filters.since is None else filters.since.isoformat()
    zone = timezone.get_current_timezone_name()
    name = "|".join((str(project.pk), str(project.k), filters.query, since, zone, *what))
    key = f"analytics:{hashlib.sha256(name.encode()).hexdigest()}"
    value: Value | None = cache.get(key)
    if value is None:
        start = perf_counter()
        value = count()
        seconds = perf_counter() - start
        if seconds > QUICK_S:
            cache.set(key, value, min(MAX_S, LIFETIME_FACTOR * seconds))
    return value
