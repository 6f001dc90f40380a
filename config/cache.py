"""Django's cache in Redis, which tolerates that Redis is unavailable."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class FailSoftCache(RedisCache):
    """Redis cache whose `get` and `set` do nothing while Redis is unavailable, so that people can continue to work.

    `add` and `incr`, which count API calls and sign-in attempts, still raise RedisError; so does `delete`, since a session
    left in the cache would outlive its sign-out.
    """

    @property
    def _cache(self) -> RedisCacheClient:
        return _client(*self._servers)  # type: ignore[attr-defined]

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        try:
            return super().get(key, default, version)
        except RedisError as error:
            log.warning("cache read failed: %s", error)
            return default

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        try:
            super().set(key, value, timeout, version)
        except RedisError as error:
            log.warning("cache write failed: %s", error)


@cache
def _client(*servers: str) -> RedisCacheClient:
    """The process's client. Django makes a cache for each request that has a context of its own, as all under ASGI have; with
    a client of its own, too, each would connect anew."""
    return RedisCacheClient(list(servers))
