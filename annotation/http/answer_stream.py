"""Answers while they are written, as server-sent events, for pages and the API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from django.http import HttpRequest, StreamingHttpResponse

from annotation import chat_stream
from annotation.models import Turn

EVENT_STREAM = "text/event-stream"
WAIT_S = 2.0
"""How long a stream waits for events before it looks whether the turn is still answered."""
PING_S = 15.0
"""Proxies close connections on which nothing is sent for long."""
LONGEST_S = 300.0
"""Then a stream ends without a last event, and browsers ask for the rest of it."""
LAST = ("end", "failed")
WRITTEN = (Turn.State.WAITING, Turn.State.ANSWERING)


def stream_turn(request: HttpRequest, turn: Turn) -> StreamingHttpResponse:
    """The events of a turn's answers, as `stream_response`."""

    def is_over() -> bool:
        return not Turn.objects.filter(pk=turn.pk, state__in=WRITTEN).exists()

    return stream_response(request, turn.stream, is_over)


def stream_response(request: HttpRequest, stream: str, is_over: Callable[[], bool]) -> StreamingHttpResponse:
    """The events of a stream (`chat_stream`), from the first or from after `Last-Event-ID`; the last one is `end` or `failed`.

    is_over: whether the answers are stored, or not to come; it is asked while there are no events, and before the last one is
    passed on, which a worker may have left that lost its claim.
    """
    last = request.headers.get("Last-Event-ID", "")
    after = last if chat_stream.is_id(last) else chat_stream.FIRST
    response = StreamingHttpResponse(_stream(stream, after, is_over), content_type=EVENT_STREAM)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would collect it
    return response


def events_so_far(stream: str, after: str, *, is_over: bool) -> dict[str, Any]:
    """The events after one that there are now, as JSON, and whether more may come; none while Redis is away."""
    found = asyncio.run(_read_once(stream, after if chat_stream.is_id(after) else chat_stream.FIRST))
    rows = [
        {"id": event.id, "event": event.name, "data": event.data}
        for event in found
        if is_over or event.name not in LAST
    ]
    return {"events": rows, "over": is_over}


def _give_connection_back() -> None:
    """A stream is open for long: meanwhile others can use its connection."""
    if not connection.in_atomic_block:
        close_old_connections()


async def _read_once(stream: str, after: str) -> list[chat_stream.Event]:
    try:
        async with chat_stream.connect() as client:
            return await chat_stream.read(client, stream, after)
    except chat_stream.RedisError:
        return []


async def _stream(stream: str, after: str, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    def ask() -> bool:
        try:
            return is_over()
        finally:
            _give_connection_back()

    await sync_to_async(_give_connection_back)()
    yield b"retry: 1000\n\n"
    started_at = sent_at = time.monotonic()
    async with chat_stream.connect() as client:
        while time.monotonic() - started_at < LONGEST_S:
            try:
                found = await chat_stream.read(client, stream, after, WAIT_S)
            except chat_stream.RedisError:
                found = []
                await asyncio.sleep(WAIT_S)
            for event in found:
                after, sent_at = event.id, time.monotonic()
                is_last = event.name in LAST
                if is_last and not await sync_to_async(ask)():
                    continue
                yield f"id: {event.id}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n".encode()
                if is_last:
                    return
            if not found and await sync_to_async(ask)():
                yield b"event: end\ndata: {}\n\n"
                return
            if time.monotonic() - sent_at > PING_S:
                sent_at = time.monotonic()
                yield b": ping\n\n"
