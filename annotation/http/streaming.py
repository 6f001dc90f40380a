"""Streaming responses and resumable file downloads from an asynchronous server, in flat memory."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from config.metrics import EXPORT_BYTES, EXPORTS

FILE_CHUNK = 2**18


async def iterate_in_threads(chunks: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """The chunks, each made in the request's thread after the one before it was sent. Django would read a synchronous
    generator to its end before sending anything."""

    def chunk() -> bytes | None:
        part = next(chunks, None)
        if not connection.in_atomic_block:
            close_old_connections()  # the client may be slow: meanwhile others can use the connection
        return part

    EXPORTS.inc()
    try:
        while (part := await sync_to_async(chunk)()) is not None:
            if part:
                EXPORT_BYTES.inc(len(part))
                yield part
    finally:
        EXPORTS.dec()
        await sync_to_async(chunks.close)()


def stream_response(
    chunks: Generator[bytes, None, None],
    *,
    content_type: str,
    name: str,
    size: int | None = None,
    headers: Mapping[str, str] = {},
) -> StreamingHttpResponse:
    """A download. `size`: its length in bytes, where it is known, so that clients can show progress."""
    length = {} if size is None else {"Content-Length": str(size)}
    return StreamingHttpResponse(
        iterate_in_threads(chunks),
        content_type=content_type,
        headers={"Content-Disposition": _attachment(name), **length, **headers},
    )


def accepts_gzip(request: HttpRequest) -> bool:
    accepted = request.headers.get("Accept-Encoding", "").lower().replace(" ", "")
    return bool(re.search(r"\bgzip\b(?!;q=0(\.0*)?(,|$))", accepted))


def compress(chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """The chunks with gzip, each sent as soon as it is made. At the fastest level, JSON Lines shrink to about a fifth."""
    compressor = zlib.compressobj(1, wbits=31)
    try:
        for chunk in chunks:
            yield compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()
    finally:
        chunks.close()


def send_file(
    request: HttpRequest, path: Path, *, etag: str, content_type: str, name: str
) -> HttpResponseBase:
    """A file that never changes, or the part of it that `Range` requests (RFC 9110, section 14).

    A range is ignored if there is an `If-Range` header with another ETag. Requests of several ranges get the whole file, as the
    standard allows.
    """
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Disposition": _attachment(name)}
    if etag_matches(request, etag):
        return HttpResponse(status=304, headers={"ETag": etag})
    size = path.stat().st_size
    start, end = 0, size
    requested = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("Range", ""))
    if requested and any(requested.groups()) and request.headers.get("If-Range", etag) == etag:
        first, last = requested.groups()
        if first:
            start, end = int(first), min(size, int(last) + 1) if last else size
        else:
            start = max(0, size - int(last))
        if start >= end:
            return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingHttpResponse(
        iterate_in_threads(_read_part(path, start, end)),
        status=206 if "Content-Range" in headers else 200,
        content_type=content_type,
        headers=headers | {"Content-Length": str(end - start)},
    )


def etag_matches(request: HttpRequest, etag: str) -> bool:
    """Whether the client has this version already, by `If-None-Match`."""
    known = request.headers.get("If-None-Match", "")
    return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]


def _read_part(path: Path, start: int, end: int) -> Generator[bytes, None, None]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(FILE_CHUNK, end - start))):
            start += len(chunk)
            yield chunk


def _attachment(name: str) -> str:
    return f'attachment; filename="{name}"'
