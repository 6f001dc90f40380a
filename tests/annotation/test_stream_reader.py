"""Many who read along in streams over one connection: each gets every event once, in order, whatever happens to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from redis.asyncio import Redis

from annotation import chat_stream
from annotation.chat_stream import FIRST, NewEvent
from annotation.http import stream_reader
from annotation.http.stream_reader import Follower, follow
from tests.patience import HANGS_S


@pytest.fixture
async def redis(db: None) -> AsyncIterator[Redis]:
    async with chat_stream.connect() as client:
        await client.flushdb()
        yield client


async def write(redis: Redis, stream: str, *values: int) -> None:
    await chat_stream.write(redis, stream, [NewEvent("piece", {"n": value}) for value in values])


async def values(follower: Follower, count: int) -> list[int]:
    """The values of the next events, at least so many; asked again where Redis was away."""
    found: list[int] = []
    async with asyncio.timeout(HANGS_S):
        while len(found) < count:
            with suppress(chat_stream.RedisError):
                found += [event.data["n"] for event in await follower.read(HANGS_S)]
    return found


async def waiting(redis: Redis) -> list[dict[str, str]]:
    """The connections whose command waits for events."""
    return [one for one in await redis.client_list() if one["cmd"] == "xread" and "b" in one["flags"]]


async def test_what_was_there_comes_first_and_then_what_is_written(redis: Redis) -> None:
    await write(redis, "a", 0, 1)
    async with follow("a", FIRST) as follower:
        assert await values(follower, 2) == [0, 1]
        reading = asyncio.create_task(values(follower, 3))
        await write(redis, "a", 2)
        await write(redis, "a", 3, 4)
        assert await reading == [2, 3, 4]
        assert await follower.read(0.01) == []
    await write(redis, "a", 5)
    async with follow("a", follower.after) as again:
        assert await values(again, 1) == [5]


async def test_all_streams_wait_in_one_command(redis: Redis) -> None:
    """Two read each of them, from places of their own."""
    names = [f"s{n}" for n in range(20)]
    for name in names:
        await write(redis, name, 0)
    async with AsyncExitStack() as stack:
        early = [await stack.enter_async_context(follow(name, FIRST)) for name in names]
        for follower in early:
            assert await values(follower, 1) == [0]
        late = [await stack.enter_async_context(follow(name, FIRST)) for name in names]
        tasks = [asyncio.create_task(values(follower, 40)) for follower in early]
        tasks += [asyncio.create_task(values(follower, 41)) for follower in late]
        async with asyncio.timeout(HANGS_S):
            while len(await waiting(redis)) != 1:
                await asyncio.sleep(0.01)
        for value in range(1, 41):
            for name in names:
                await write(redis, name, value)
            assert len(await waiting(redis)) <= 1
        assert [await task for task in tasks] == [[*range(1, 41)]] * 20 + [[*range(41)]] * 20
    assert not stream_reader._readers


async def test_who_is_slower_than_the_stream_misses_nothing(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (chat_stream, stream_reader):
        monkeypatch.setattr(module, "MAX_EVENTS", 10)
    async with follow("a", FIRST) as slow, follow("a", FIRST) as quick:
        assert await slow.read(0) == await quick.read(0) == []
        for value in range(35):
            await write(redis, "a", value)
            assert await values(quick, 1) == [value]
        assert len(slow._coming) <= 10
        assert await values(slow, 35) == [*range(35)]


async def test_a_lost_connection_loses_nothing(redis: Redis) -> None:
    async with follow("a", FIRST) as follower:
        reading = asyncio.create_task(values(follower, 2))
        await write(redis, "a", 0)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await write(redis, "a", 1)
        assert await reading == [0, 1]
        await redis.flushdb()
        await write(redis, "a", 2)
        assert await values(follower, 1) == [2]


async def test_it_ends_with_its_last_follower(redis: Redis) -> None:
    """Also where it was only beginning to connect."""
    async with asyncio.timeout(HANGS_S):
        for steps in range(40):
            async with follow(f"a{steps}", FIRST):
                for _ in range(steps):
                    await asyncio.sleep(0)
    assert not stream_reader._readers
    assert not await waiting(redis)
