"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from palate_client.client import Palate

ITERATORS = ("prompts", "items", "rows", "stream_answers", "compared_prompts")
"""Methods of `Palate` that return an iterator."""
_END = object()


class AsyncPalate:
    """`Palate` with methods that are awaited, and with asynchronous iterators: the same names, arguments and results.

    Calls run in the loop's threads, so several can be awaited at once: `await asyncio.gather(…)`. So do callbacks.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout_s: float = 60) -> None:
        self._palate = Palate(url, token, timeout_s=timeout_s)

    async def __aenter__(self) -> AsyncPalate:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._palate.close)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._palate, name)
        if name in ITERATORS:
            return lambda *arguments, **named: _iterate(method(*arguments, **named))

        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **named)

        return call


async def _iterate(rows: Iterator[Any]) -> AsyncIterator[Any]:
    while (row := await asyncio.to_thread(next, rows, _END)) is not _END:
        yield row
