"""The databases that Palate uses on the server of REDIS_URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "unix")


class RedisUrls(NamedTuple):
    """URLs of three databases on one server, as their clients read them."""

    broker: str
    live: str
    cache: str


def redis_urls(url: str) -> RedisUrls:
    """Three databases in a row, from the one that `url` names; from 0 if it names none. Other parameters of `url` stay.

    Raises:
        ValueError: it is not the URL of a Redis server.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f"REDIS_URL starts with redis://, rediss:// or unix://, not {parts.scheme or url!r}."
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "rediss":
        query.setdefault("ssl_cert_reqs", "required")  # Celery's default is none
    is_socket = parts.scheme == "unix"
    number = query.pop("db", "0") if is_socket else parts.path.strip("/") or "0"
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"REDIS_URL: a database is a number, not {number!r}.")

    def url_of(database: int, scheme: str, parameter: str) -> str:
        if is_socket:
            return f"{scheme}://{parts.path}?{urlencode(query | {parameter: database})}"
        return parts._replace(path=f"/{database}", query=urlencode(query)).geturl()

    first = int(number)
    return RedisUrls(
        broker=url_of(first, "redis+socket", "virtual_host"),  # as Celery names it
        live=url_of(first + 1, "unix", "db"),
        cache=url_of(first + 2, "unix", "db"),
    )
