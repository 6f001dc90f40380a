from __future__ import annotations

import sys
from collections.abc import Callable

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from redis.exceptions import RedisError


def healthz(request: HttpRequest) -> JsonResponse:
    """Whether this process can reach the database and the broker; 503 when it cannot."""
    state = {"database": _works(_database), "broker": _works(_broker)}
    return JsonResponse(state, status=200 if all(state.values()) else 503)


def broken(request: HttpRequest) -> HttpResponse:
    """What people see of an error that nothing foresaw; a 503 where it is only that Redis is away."""
    is_away = isinstance(sys.exc_info()[1], RedisError)
    return HttpResponse(render_to_string("500.html", {"is_away": is_away}), status=503 if is_away else 500)


def _works(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 - whatever is wrong, the answer is no
        return False
    return True


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    cache.has_key("healthz")
