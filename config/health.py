"""Health checks, answered before anything else of a request, and the page for server errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from redis import Redis
from redis.exceptions import RedisError

from annotation.store import StoreError

TIMEOUT_S = 2
PARTS = ("database", "migrations", "redis")
# a server that accepts connections and does not answer holds threads, but no more than these
_threads = ThreadPoolExecutor(8, thread_name_prefix="health")


class HealthChecks:
    """HTTP middleware, the first of all: probes use HTTP and the address of a container, which is none of `ALLOWED_HOSTS`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/livez":
            return JsonResponse({"live": True})
        if request.path_info == "/readyz":
            return _ready(request.GET.getlist("exclude"))
        return self.get_response(request)


def _ready(exclude: Collection[str]) -> JsonResponse:
    """Whether each part answers within `TIMEOUT_S`, and null for what cannot be known: 200, or 503 if one that is not excluded
    does not."""
    if unknown := set(exclude) - set(PARTS):
        sentence = f"exclude is {', '.join(sorted(unknown))!r:.80}; it may be {', '.join(PARTS)}."
        return JsonResponse({"detail": sentence}, status=400)
    answers = ask_parts(database=partial(_missing_migrations, database_parameters()), redis=_ping)
    parts = {
        "database": "database" in answers,
        "migrations": not answers["database"] if "database" in answers else None,
        "redis": "redis" in answers,
    }
    is_ready = all(works for part, works in parts.items() if part not in exclude)
    return JsonResponse(parts, status=200 if is_ready else 503)


def ask_parts(**parts: Callable[[], Any]) -> dict[str, Any]:
    """What each part answers, of those that do so within `TIMEOUT_S`."""
    futures = {name: _threads.submit(ask) for name, ask in parts.items()}
    done, late = wait(futures.values(), TIMEOUT_S)
    for future in late:
        future.cancel()
    return {
        name: future.result() for name, future in futures.items() if future in done and not future.exception()
    }


def database_parameters() -> dict[str, object]:
    """Parameters of a connection of its own, which waits for no pool and gives up after `TIMEOUT_S`."""
    limits = {"connect_timeout": TIMEOUT_S, "tcp_user_timeout": 1000 * TIMEOUT_S}
    return connection.get_connection_params() | limits


def quick_redis() -> Redis:
    """A client of the broker that gives up after `TIMEOUT_S`."""
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None
    )


def _ping() -> None:
    with quick_redis() as redis:
        redis.ping()


@cache
def _last_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app, by the files of this release."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _missing_migrations(connect: dict[str, object]) -> frozenset[tuple[str, str]]:
    """Migrations of this release that the database lacks. One of a newer release lacks none."""
    with psycopg.connect(**connect) as database:  # type: ignore[arg-type]
        try:
            applied = database.execute("SELECT app, name FROM django_migrations").fetchall()
        except psycopg.errors.UndefinedTable:
            applied = []
    return _last_migrations() - set(applied)


def server_error(request: HttpRequest) -> HttpResponse:
    """Page for unhandled exceptions: 500, or 503 if Redis or the store is unavailable, with the sentence of the store."""
    error = sys.exc_info()[1]
    is_unavailable = isinstance(error, RedisError | StoreError)
    reason = str(error) if isinstance(error, StoreError) else ""
    return HttpResponse(
        render_to_string("500.html", {"is_unavailable": is_unavailable, "reason": reason}),
        status=503 if is_unavailable else 500,
    )
