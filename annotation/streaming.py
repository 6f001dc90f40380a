"""Long downloads from an asynchronous server, with flat memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection

CHUNK_CHARS = 64 * 1024


async def in_threads(lines: Generator[str, None, None]) -> AsyncIterator[bytes]:
    """The lines as UTF-8, in chunks, each made in the request's own thread when the one before it is sent. Given a
    plain generator, Django would read it to its end before it sends anything."""

    def chunk() -> bytes:
        taken: list[str] = []
        size = 0
        for line in lines:
            taken.append(line)
            size += len(line)
            if size >= CHUNK_CHARS:
                break
        if not connection.in_atomic_block:
            close_old_connections()  # the reader may take its time: meanwhile the connection is others'
        return "".join(taken).encode()

    try:
        while part := await sync_to_async(chunk)():
            yield part
    finally:
        await sync_to_async(lines.close)()
