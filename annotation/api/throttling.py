"""The rate limit of API calls."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from annotation.models import ApiToken

if TYPE_CHECKING:  # views import this class: it is one of REST framework's defaults
    from rest_framework.views import APIView

log = logging.getLogger(__name__)
WINDOW_S = 60


class CallerThrottle(BaseThrottle):
    """`API_CALLS_PER_MINUTE` for each token, or for each signed-in user; unlimited while Redis is unavailable."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit = settings.API_CALLS_PER_MINUTE
        if not limit:
            return True
        token = request.auth
        caller = f"token-{token.pk}" if isinstance(token, ApiToken) else f"user-{request.user.pk}"
        key = f"calls:{caller}:{int(time.time()) // WINDOW_S}"
        try:
            cache.add(key, 0, 2 * WINDOW_S)
            return cache.incr(key) <= limit
        except RedisError as error:
            log.warning("calls are not counted: %s", error)
            return True

    def wait(self) -> float:
        """Seconds until the next minute."""
        return WINDOW_S - time.time() % WINDOW_S
