"""HTTP requests to servers that sample from a model: answers of bounded size, and pauses before another attempt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from training.core.events import Events
from training.server_protocol import auth_headers

FIRST_DELAY_S, MAX_DELAY_S, MAX_RETRY_AFTER_S = 0.5, 60.0, 600.0
MAX_BODY_BYTES = 64 * 2**20
"""Size of an answer at most; responses are far smaller."""

MIN_LOGPROB, ROUNDING = -1e6, 1e-2
"""Bounds of what is taken for a log-prob; vLLM has -9999 for an impossible token."""

C = TypeVar("C")
T = TypeVar("T")


class AnswerTooLarge(Exception):
    """An answer has more than `MAX_BODY_BYTES`."""


def run_concurrently(
    items: Iterable[T],
    connect: Callable[[httpx2.AsyncClient], C],
    handle: Callable[[C, T], Awaitable[None]],
    *,
    server: str,
    concurrency: int,
    events: Events,
) -> None:
    """Await `handle` for every item, up to `concurrency` at a time; each next item is taken when one is done.

    connect: makes the client that `handle` is called with. Raises what `handle` raises, and Stopped soon after SIGTERM.
    """
    asyncio.run(_run_concurrently(items, connect, handle, server, concurrency, events))


async def _run_concurrently(
    items: Iterable[T],
    connect: Callable[[httpx2.AsyncClient], C],
    handle: Callable[[C, T], Awaitable[None]],
    server: str,
    concurrency: int,
    events: Events,
) -> None:
    waiting = iter(items)
    limits = httpx2.Limits(max_connections=concurrency)
    async with httpx2.AsyncClient(headers=auth_headers(server), limits=limits, timeout=None) as http:
        client = connect(http)

        async def work() -> None:
            for item in waiting:
                if events.stop_requested:
                    return
                await handle(client, item)

        workers = {asyncio.create_task(work()) for _ in range(concurrency)}
        try:
            pending = workers
            while pending:
                events.raise_if_stopped()
                done, pending = await asyncio.wait(pending, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for worker in done:
                    worker.result()
            events.raise_if_stopped()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def request_json(
    http: httpx2.AsyncClient, url: str, fields: dict[str, Any] | None = None
) -> tuple[int, httpx2.Headers, bytes]:
    """The status, headers and body of the answer to a POST of `fields`, or without any to a GET. Raises AnswerTooLarge."""
    async with http.stream("GET" if fields is None else "POST", url, json=fields) as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise AnswerTooLarge(f"sent an answer of more than {MAX_BODY_BYTES // 2**20} MiB")
        return response.status_code, response.headers, bytes(body)


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, times a random factor from 0.5 to 1.5, so that
    clients that failed together do not retry together."""
    delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (failures - 1))
    return delay * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the Retry-After header, a number or a date, tells to wait, at most `MAX_RETRY_AFTER_S`; None without."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = when.timestamp() - datetime.now(UTC).timestamp()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None


def is_logprob(value: Any) -> bool:
    """Whether a server's value is the logarithm of a probability, but for rounding: JSON in Python may hold NaN and Infinity."""
    return type(value) in (int, float) and MIN_LOGPROB <= value <= ROUNDING
