"""How many wrong passwords are taken, before the next ones have to wait."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from axes.helpers import get_cache_timeout, get_client_cache_keys
from django.http import HttpRequest

LIMITS = (10, 50, 100)
"""In the order of `AXES_LOCKOUT_PARAMETERS`: for one name from one address; for one name from anywhere, so that many addresses
do not help; for one address, so that trying one password on many names does not. An address can be that of a whole office."""

FAMILIAR_S = 30 * 24 * 3600


class SignInLimits(AxesCacheHandler):
    """django-axes with a limit for each parameter; they are compared as shares of the first.

    The limit for one name from anywhere does not count at an address where its owner has signed in within thirty days.
    Otherwise anybody with a few addresses could lock somebody out: a longer delay after each failure would do no better, since
    the failures of others would make it grow.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        keys = get_client_cache_keys(request, credentials)
        pair, name, address = (
            LIMITS[0] * self.cache.get(key, default=0) // limit
            for key, limit in zip(keys, LIMITS, strict=True)
        )
        if name >= LIMITS[0] and self.cache.get(_familiar_key(keys[0])):
            name = 0
        return max(pair, name, address)

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        """Count the failure for a quarter of an hour from the first one on. Attempts during a lockout do not count, so that it
        ends however many there are."""
        if request is None:
            return
        if self.get_failures(request, credentials) < LIMITS[0]:
            for key in get_client_cache_keys(request, credentials):
                if not self.cache.add(key, 1, timeout=get_cache_timeout(request)):
                    with suppress(ValueError):  # it has just run out
                        self.cache.incr(key)
        request.axes_locked_out = self.get_failures(request, credentials) >= LIMITS[0]
        request.axes_credentials = credentials

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Only the count of that name from that address begins anew: with an account of one's own, one could begin the others
        anew."""
        super().user_logged_in(sender, request, user, **kwargs)
        pair = get_client_cache_keys(request, {"username": user.get_username()})[0]
        self.cache.delete(pair)
        self.cache.set(_familiar_key(pair), True, timeout=FAMILIAR_S)


def _familiar_key(pair: str) -> str:
    """The cache key that a name has while an address is familiar to it."""
    return f"{pair}:familiar"


def account_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that somebody signs in with, in one form for all spellings that find the same account: PostgreSQL compares names
    in upper case, in which `ı` is `I`."""
    name = (credentials or {}).get("username") or request.POST.get("login") or ""
    return unicodedata.normalize("NFKC", str(name)).upper().casefold()
