"""Answers while they are written: events that one process writes and any number of pages read, from the first or from after the
one that they saw last.

They are in a stream of Redis that expires. Nothing depends on it: once both answers are complete, PostgreSQL has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from django.conf import settings
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

__all__ = [
    "Event",
    "NewEvent",
    "RedisError",
    "client",
    "connect",
    "is_id",
    "read",
    "read_any",
    "wake",
    "write",
]

EXPIRES_S = 3600
MAX_EVENTS = 500
FIRST = "0-0"


class NewEvent(NamedTuple):
    """name: `piece`, `restart`, `end` or `failed`."""

    name: str
    data: dict[str, Any]


class Event(NamedTuple):
    """id: of the event in its stream; `Last-Event-ID` names it. name and data: as they were written."""

    id: str
    name: str
    data: dict[str, Any]


def client(*, connections: int | None = None, timeout_s: float | None = None) -> redis_asyncio.Redis:
    """connections: the most that it opens; others wait for one. timeout_s: after which a silent server is away."""
    if connections is None:
        return redis_asyncio.Redis.from_url(settings.CHAT_STREAM_URL, socket_timeout=timeout_s)
    pool = redis_asyncio.BlockingConnectionPool.from_url(
        settings.CHAT_STREAM_URL, max_connections=connections, socket_timeout=timeout_s
    )
    return redis_asyncio.Redis.from_pool(pool)


@asynccontextmanager
async def connect() -> AsyncIterator[redis_asyncio.Redis]:
    connected = client()
    try:
        yield connected
    finally:
        await connected.aclose()


def is_id(text: str) -> bool:
    """Whether a text, which a browser sent, is the id of an event."""
    return bool(re.fullmatch(r"\d{1,19}-\d{1,19}", text, re.ASCII))


async def write(client: redis_asyncio.Redis, stream: str, events: Iterable[NewEvent]) -> None:
    """Add events at once: who reads along gets them together."""
    async with client.pipeline(transaction=True) as pipe:
        for name, data in events:
            pipe.xadd(_key(stream), {"name": name, "data": json.dumps(data)})
        pipe.expire(_key(stream), EXPIRES_S)
        await pipe.execute()


async def wake(client: redis_asyncio.Redis, stream: str) -> None:
    """Put one event into a stream, in place of all that it had: who reads it stops waiting."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.xadd(_key(stream), {"name": "wake", "data": "{}"}, maxlen=1, approximate=False)
        pipe.expire(_key(stream), EXPIRES_S)
        await pipe.execute()


async def read(client: redis_asyncio.Redis, stream: str, after: str) -> list[Event]:
    """The events after one that there are now, at most `MAX_EVENTS`."""
    return (await read_any(client, {stream: after})).get(stream, [])


async def read_any(
    client: redis_asyncio.Redis, places: Mapping[str, str], wait_s: float = 0
) -> dict[str, list[Event]]:
    """The events of several streams, at most `MAX_EVENTS` of each, after the one that `places` names for it; if there are none,
    those that come first within `wait_s`. Only streams with events are in the result."""
    names = {_key(stream): stream for stream in places}
    found: Any = await client.xread(
        {key: places[stream] for key, stream in names.items()},
        count=MAX_EVENTS,
        block=round(1000 * wait_s) if wait_s else None,
    )
    return {
        names[key.decode()]: [
            Event(event_id.decode(), fields[b"name"].decode(), json.loads(fields[b"data"]))
            for event_id, fields in entries
        ]
        for key, entries in found or []
    }


def _key(stream: str) -> str:
    return f"palate-stream-{stream}"
