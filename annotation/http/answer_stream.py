"""Answers while they are written, as server-sent events, for pages and the API."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _

from annotation import chat_stream
from annotation.http import stream_reader
from annotation.logic.limits import MAX_ANSWER_STREAMS
from annotation.models import Turn

EVENT_STREAM = "text/event-stream"
WAIT_S = 2.0
"""How long a stream waits for events before it looks whether the turn is still answered."""
PING_S = 15.0
"""Proxies close connections on which nothing is sent for long."""
LONGEST_S = 300.0
"""Then a stream ends without a last event, and browsers ask for the rest of it."""
_open: Counter[int] = Counter()
"""Open streams of this process, by account."""
LAST = ("end", "failed")
T = TypeVar("T")
WRITTEN = (Turn.State.WAITING, Turn.State.ANSWERING)


class TooManyStreams(Exception):
    """The person has as many streams open as one may have. Its text is a sentence for them."""


def too_many(error: TooManyStreams) -> HttpResponse:
    """The refusal, for a page, which then asks for events again and again."""
    return HttpResponse(str(error), status=429, content_type="text/plain")


def stream_turn(request: HttpRequest, turn: Turn) -> StreamingHttpResponse:
    """The events of a turn's answers, as `stream_response`.

    Raises:
        TooManyStreams
    """

    def is_over() -> bool:
        return not Turn.objects.filter(pk=turn.pk, state__in=WRITTEN).exists()

    return stream_response(request, turn.stream, is_over)


def stream_response(request: HttpRequest, stream: str, is_over: Callable[[], bool]) -> StreamingHttpResponse:
    """The events of a stream (`chat_stream`), from the first or from after `Last-Event-ID`; the last one is `end` or `failed`.

    is_over: whether the answers are stored, or not to come; it is asked while there are no events, and before the last one is
    passed on, which a worker may have left that lost its claim.

    Raises:
        TooManyStreams
    """
    reader = request.user.pk or 0  # views let in who has signed in
    if _open[reader] >= MAX_ANSWER_STREAMS:
        sentence = _("You read along in %(n)s places at once. Close one of them first.")
        raise TooManyStreams(sentence % {"n": MAX_ANSWER_STREAMS})
    last = request.headers.get("Last-Event-ID", "")
    after = last if chat_stream.is_id(last) else chat_stream.FIRST
    response = StreamingHttpResponse(
        _counted(reader, _stream(stream, after, is_over)), content_type=EVENT_STREAM
    )
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


async def _counted(reader: int, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The events, counted as open while they are read; none if others have begun meanwhile: then the reader asks again."""
    if _open[reader] >= MAX_ANSWER_STREAMS:
        await events.aclose()
        return
    _open[reader] += 1
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    finally:
        _open[reader] -= 1
        if not _open[reader]:
            del _open[reader]


async def _read_once(stream: str, after: str) -> list[chat_stream.Event]:
    try:
        async with chat_stream.connect() as client:
            return await chat_stream.read(client, stream, after)
    except chat_stream.RedisError:
        return []


async def _stream(stream: str, after: str, is_over: Callable[[], bool]) -> AsyncGenerator[bytes]:
    def ask() -> bool:
        try:
            return is_over()
        finally:
            _give_connection_back()

    await _in_thread(_give_connection_back)
    yield b"retry: 1000\n\n"
    started_at = sent_at = time.monotonic()
    async with stream_reader.follow(stream, after) as follower:
        while time.monotonic() - started_at < LONGEST_S:
            try:
                found = await follower.read(WAIT_S)
            except chat_stream.RedisError:
                found = []
                await asyncio.sleep(WAIT_S)
            # one that a worker left which lost its claim ends nothing
            passed = [event for event in found if event.name not in LAST or await _in_thread(ask)]
            if passed:
                yield b"".join(
                    f"id: {event.id}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n".encode()
                    for event in passed
                )
                if any(event.name in LAST for event in passed):
                    return
            if found:
                sent_at = time.monotonic()
            if not found and await _in_thread(ask):
                yield b"event: end\ndata: {}\n\n"
                return
            if time.monotonic() - sent_at > PING_S:
                sent_at = time.monotonic()
                yield b": ping\n\n"


def _give_connection_back() -> None:
    """A stream is open for long: meanwhile others can use its connection."""
    if not connection.in_atomic_block:
        close_old_connections()


async def _in_thread(function: Callable[[], T]) -> T:
    """What the function returns, from the request's thread, which ends with it: most of the time a stream has none."""
    try:
        return await sync_to_async(function)()
    finally:
        context = SyncToAsync.thread_sensitive_context.get(None)
        if context and (thread := SyncToAsync.context_to_thread_executor.pop(context, None)):
            thread.shutdown(wait=False)
