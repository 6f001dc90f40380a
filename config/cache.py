from __future__ import annotations

import logging
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class Cache(RedisCache):
    """Redis as Django's cache. While it is away nothing is found in it and nothing is kept, so that people work on: what they
    see is counted or read anew.

    What is more than a copy still fails, with RedisError: `add` and `incr`, which calls and attempts are counted by, and
    `delete`, since a session that stayed in the cache would outlive its end.
    """

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        try:
            return super().get(key, default, version)
        except RedisError as error:
            log.warning("nothing is found in the cache: %s", error)
            return default

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        try:
            super().set(key, value, timeout, version)
        except RedisError as error:
            log.warning("nothing is kept in the cache: %s", error)
