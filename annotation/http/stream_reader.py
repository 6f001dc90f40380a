"""Reading along in any number of streams (`annotation.chat_stream`) over one connection of this process: one command waits for
all of them, and wakes whoever follows a stream that has something new."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

from annotation import chat_stream
from annotation.chat_stream import FIRST, MAX_EVENTS, Event, RedisError

log = logging.getLogger(__name__)
BLOCK_S = 5.0
"""How long one command waits."""
RETRY_S = 1.0
"""Between a command that failed and the next one."""
CONNECTIONS = 8
"""For what followers read for themselves, beside the one that waits."""
_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Reader] = WeakKeyDictionary()


@asynccontextmanager
async def follow(stream: str, after: str) -> AsyncIterator[Follower]:
    """Somebody who reads along in a stream, from after an event."""
    loop = asyncio.get_running_loop()
    if loop not in _readers:
        _readers[loop] = _Reader()
    reader = _readers[loop]
    follower = Follower(reader, stream, after)
    reader.add(follower)
    try:
        yield follower
    finally:
        if reader.remove(follower):  # the last one
            del _readers[loop]
            await reader.stop()


class Follower:
    """after: the id of the last event that it has read."""

    def __init__(self, reader: _Reader, stream: str, after: str) -> None:
        self.stream, self.after = stream, after
        self._reader = reader
        self._coming: list[Event] = []
        self._news = asyncio.Event()
        # it must read for itself: at first, where it is slower than its stream, and when the reader has failed
        self._is_behind = True

    async def read(self, wait_s: float) -> list[Event]:
        """The events after the last that it has read; if there are none, those that come first within `wait_s`, or none.

        Raises:
            RedisError
        """
        if self._is_behind and (found := await self._catch_up()):
            return found
        if not self._coming and not self._is_behind:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        if self._is_behind:
            return await self._catch_up()
        self._news.clear()
        coming, self._coming = self._coming, []
        return self._advance([event for event in coming if _place(event.id) > _place(self.after)])

    def give(self, events: list[Event]) -> None:
        """What has come in its stream."""
        if len(self._coming) + len(events) > MAX_EVENTS:
            self.fall_behind()
        elif not self._is_behind:
            self._coming += events
            self._news.set()

    def fall_behind(self) -> None:
        self._is_behind = True
        self._coming.clear()
        self._news.set()

    async def _catch_up(self) -> list[Event]:
        self._is_behind = False  # what comes meanwhile is given, and may be in what is found, too
        self._news.clear()
        try:
            found = await self._reader.read(self.stream, self.after)
        except BaseException:
            self._is_behind = True
            raise
        if len(found) == MAX_EVENTS:
            self.fall_behind()
        return self._advance(found)

    def _advance(self, events: list[Event]) -> list[Event]:
        if events:
            self.after = events[-1].id
        return events


class _Reader:
    """Reads while somebody follows. There is one of an event loop."""

    def __init__(self) -> None:
        self._followers: dict[str, set[Follower]] = {}
        self._places: dict[str, str] = {}
        """Of each stream that is waited for, the last event that was given."""
        # a stream that this reader alone writes to: it ends a command that waits for fewer streams than there are meanwhile
        self._own, self._own_place = f"reader-{uuid.uuid4()}", FIRST
        self._client = chat_stream.client(connections=CONNECTIONS)
        self._waiting = chat_stream.client(timeout_s=BLOCK_S + 10)
        self._is_stopped = False
        self._task = asyncio.create_task(self._run())

    def add(self, follower: Follower) -> None:
        self._followers.setdefault(follower.stream, set()).add(follower)

    def remove(self, follower: Follower) -> bool:
        """Whether nobody is left."""
        others = self._followers[follower.stream]
        others.remove(follower)
        if not others:
            del self._followers[follower.stream]
            self._places.pop(follower.stream, None)
        return not self._followers

    async def stop(self) -> None:
        self._is_stopped = True
        while not self._task.done():  # redis-py can lose a cancellation while it connects
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)
        await asyncio.gather(self._client.aclose(), self._waiting.aclose(), return_exceptions=True)

    async def read(self, stream: str, after: str) -> list[Event]:
        """The events after one that there are now, at most `MAX_EVENTS`; if these are all, followers are given what comes."""
        found = await chat_stream.read(self._client, stream, after)
        if len(found) < MAX_EVENTS and stream in self._followers and stream not in self._places:
            self._places[stream] = found[-1].id if found else after
            try:
                await chat_stream.wake(self._client, self._own)
            except BaseException:
                self._places.pop(stream, None)
                raise
        return found

    async def _run(self) -> None:
        while not self._is_stopped:
            places = {self._own: self._own_place, **self._places}
            try:
                found = await chat_stream.read_any(self._waiting, places, BLOCK_S)
            except Exception as error:
                if not isinstance(error, RedisError):
                    log.exception("the streams of answers could not be read")
                for follower in [follower for some in self._followers.values() for follower in some]:
                    follower.fall_behind()
                await asyncio.sleep(RETRY_S)
                continue
            if own := found.pop(self._own, []):
                self._own_place = own[-1].id
            for stream, events in found.items():
                if stream in self._places:
                    self._places[stream] = events[-1].id
                for follower in self._followers.get(stream, ()):
                    follower.give(events)


def _place(event_id: str) -> tuple[int, int]:
    first, _, second = event_id.partition("-")
    return int(first), int(second)
