"""Health check, and the page for server errors."""

from __future__ import annotations

import sys
from collections.abc import Callable

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from redis.exceptions import RedisError

from annotation.store import StoreError


def healthz(request: HttpRequest) -> JsonResponse:
    """Whether this process can reach the database and the broker: 200 or 503."""
    state = {"database": _works(_database), "broker": _works(_broker)}
    return JsonResponse(state, status=200 if all(state.values()) else 503)


def server_error(request: HttpRequest) -> HttpResponse:
    """Page for unhandled exceptions: 500, or 503 if Redis or the store is unavailable, with the sentence of the store."""
    error = sys.exc_info()[1]
    is_unavailable = isinstance(error, RedisError | StoreError)
    reason = str(error) if isinstance(error, StoreError) else ""
    return HttpResponse(
        render_to_string("500.html", {"is_unavailable": is_unavailable, "reason": reason}),
        status=503 if is_unavailable else 500,
    )


def _works(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 - any failure means unavailable
        return False
    return True


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    cache.has_key("healthz")
