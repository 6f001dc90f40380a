"""Answers while they are written: events that one process writes and any number of pages read, from the first or from after the
one that they saw last.

They are in a stream of Redis that expires. Nothing depends on it: once both answers are complete, PostgreSQL has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from django.conf import settings
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

__all__ = ["Event", "NewEvent", "RedisError", "connect", "is_id", "read", "write"]

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


@asynccontextmanager
async def connect() -> AsyncIterator[redis_asyncio.Redis]:
    client = redis_asyncio.Redis.from_url(settings.CHAT_STREAM_URL)
    try:
        yield client
    finally:
        await client.aclose()


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


async def read(client: redis_asyncio.Redis, stream: str, after: str, wait_s: float = 0) -> list[Event]:
    """The events after one, at most `MAX_EVENTS`; if there are none, those that come within `wait_s`."""
    found: Any = await client.xread(
        {_key(stream): after}, count=MAX_EVENTS, block=round(1000 * wait_s) if wait_s else None
    )
    return [
        Event(event_id.decode(), fields[b"name"].decode(), json.loads(fields[b"data"]))
        for _key, entries in found or []
        for event_id, fields in entries
    ]


def _key(stream: str) -> str:
    return f"palate-stream-{stream}"
