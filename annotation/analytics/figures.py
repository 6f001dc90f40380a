"""Figures that take long to count in large projects: there a worker counts them, and pages show what it counted last."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from time import perf_counter, time
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from celery import current_app
from django.core.cache import cache
from django.db import connection, transaction
from django.http import QueryDict
from django.utils import timezone
from django.utils.module_loading import import_string

from annotation.analytics.filters import Filters
from annotation.models import Project
from annotation.queries import RowCounts, count_rows

log = logging.getLogger(__name__)

P = ParamSpec("P")
Value = TypeVar("Value")
Count = Callable[Concatenate[Project, Filters, P], Value]

LARGE = 10_000
"""Number of judgments or of prompts from which a worker counts."""
QUICK_S, LIFETIME_FACTOR, MIN_LIFETIME_S, MAX_LIFETIME_S = 0.5, 30, 2, 3600
KEEP_S = 86_400
REQUEST_S = 60
"""A worker is asked again after so many seconds: it may have died."""
WORK_MEMORY = "128MB"
"""Of each sort and hash table of a worker's statements."""


@dataclass
class Reading:
    """How a block reads figures: whether its project is large, and when the oldest of those that it read was counted, in seconds
    of the epoch."""

    is_large: bool
    oldest: float | None = None


_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


class NotCounted(Exception):
    """A worker counts the figures: ask again in a few seconds."""


@dataclass(frozen=True)
class _Counted:
    """A value, the time at which it was counted, and the seconds that it took."""

    value: Any
    at: float
    seconds: float

    @property
    def is_fresh(self) -> bool:
        lifetime = max(MIN_LIFETIME_S, LIFETIME_FACTOR * self.seconds)
        return time() < self.at + min(MAX_LIFETIME_S, lifetime)


@contextmanager
def counted_by_worker(project: Project, counts: RowCounts | None = None) -> Iterator[Reading]:
    """Within the block, the figures of a large project are those that a worker counted last. It is asked again for
    those that are no longer fresh, and for those that it never counted, which raise `NotCounted`.

    counts: the project's, if they are known; otherwise they are queried once.
    """
    counts = counts or vars(project).get("_row_counts") or count_rows(project)
    vars(project)["_row_counts"] = counts
    reading = Reading(is_large=max(counts.slots_done, counts.prompts) > LARGE)
    token = _reading.set(reading)
    try:
        yield reading
    finally:
        _reading.reset(token)


def figure(count: Count[P, Value]) -> Count[P, Value]:
    """Makes a function of a project, filters and further plain values (which JSON takes) one whose result is cached for thirty
    times as long as it took, at most an hour, and which a worker can be asked for. What took under half a second is
    counted again at once, except by a worker."""
    name = f"{count.__module__}.{count.__qualname__}"

    @wraps(count)
    def read(project: Project, filters: Filters, *arguments: P.args, **_: P.kwargs) -> Value:
        key = _key(name, project, filters, arguments)
        counted: _Counted | None = cache.get(key)
        reading = _reading.get()
        if reading is None or not reading.is_large:
            if counted is None or not counted.is_fresh:
                counted = _count(key, count, project, filters, arguments)
            return counted.value
        if counted is not None:
            reading.oldest = min(counted.at, reading.oldest or counted.at)
            if counted.is_fresh:
                return counted.value
        if cache.add(f"{key}:requested", True, REQUEST_S):
            _ask_worker(name, project, filters, arguments)
        if counted is None:
            raise NotCounted
        return counted.value

    return cast("Count[P, Value]", read)


def _ask_worker(name: str, project: Project, filters: Filters, arguments: tuple[Any, ...]) -> None:
    values = (name, project.pk, filters.query, timezone.get_current_timezone_name(), arguments)
    try:
        current_app.send_task("annotation.tasks.count_figure", values, retry=False)
    except Exception:  # the broker is unavailable: pages show what was counted before
        log.warning("could not ask a worker for %s", name, exc_info=True)


def counted_or_none(
    project: Project, read: Callable[[], Value], counts: RowCounts | None = None
) -> Value | None:
    """What `read` returns; None where a worker has to count it first (see `counted_by_worker`)."""
    with counted_by_worker(project, counts):
        try:
            return read()
        except NotCounted:
            return None


def gather(*reads: Callable[[], Any]) -> list[Any]:
    """The results of all of them; a worker is asked for all that are missing.

    Raises:
        NotCounted: some are missing.
    """
    values, missing = [], False
    for read in reads:
        try:
            values.append(read())
        except NotCounted:
            missing = True
    if missing:
        raise NotCounted
    return values


def count_for_pages(name: str, project: Project, query: str, arguments: list[Any]) -> None:
    """What a worker does when asked: count a figure, whose filters are a query string, unless that was just done."""
    filters = Filters.read(QueryDict(query), project)
    key = _key(name, project, filters, tuple(arguments))
    counted: _Counted | None = cache.get(key)
    if counted is None or not counted.is_fresh:
        count = import_string(name).__wrapped__
        with worker_memory():
            _count(key, count, project, filters, tuple(arguments), always_store=True)
    cache.delete(f"{key}:requested")


@contextmanager
def worker_memory() -> Iterator[None]:
    """A transaction with `WORK_MEMORY`."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true)", [WORK_MEMORY])
        yield


def _count(
    key: str,
    count: Count[..., Any],
    project: Project,
    filters: Filters,
    arguments: tuple[Any, ...],
    *,
    always_store: bool = False,
) -> _Counted:
    start = perf_counter()
    value = count(project, filters, *arguments)
    counted = _Counted(value, time(), perf_counter() - start)
    if always_store or counted.seconds > QUICK_S:
        cache.set(key, counted, KEEP_S)
    return counted


def _key(name: str, project: Project, filters: Filters, arguments: tuple[Any, ...]) -> str:
    since = "" if filters.days or filters.since is None else filters.since.isoformat()
    zone = timezone.get_current_timezone_name()
    parts = (name, str(project.pk), str(project.k), filters.query, since, zone, *map(str, arguments))
    return f"figures:{hashlib.sha256('|'.join(parts).encode()).hexdigest()}"
