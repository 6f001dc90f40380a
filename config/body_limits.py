"""Refuses request bodies that are too large before they are read."""

from __future__ import annotations

from typing import Any

from django.conf import settings

FORM_BYTES = 2**20  # overhead of a form around its file


class _BodyTooLarge(Exception):
    """The body is larger than the limit."""


class BodyLimit:
    """ASGI middleware: answers 413 to a request whose Content-Length is too large without reading its body, which Django
    would write to disk before any view sees it; a body without a length is cut off once it exceeds the limit."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = settings.MAX_UPLOAD_BYTES + FORM_BYTES
        try:
            if _length(scope) > limit:
                raise _BodyTooLarge
            await self.app(scope, _limited(receive, limit), send)
        except _BodyTooLarge:  # nothing was sent yet: the body is read before the response starts
            await _refuse(send)


def _limited(receive: Any, limit: int) -> Any:
    """`receive` that raises `_BodyTooLarge` after more than `limit` bytes."""
    received = 0

    async def limited() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _BodyTooLarge
        return message

    return limited


async def _refuse(send: Any) -> None:
    limit = settings.MAX_UPLOAD_BYTES // 2**20
    text = f"Too large: the limit is {limit} MB. Nothing was stored.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _length(scope: dict[str, Any]) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0
