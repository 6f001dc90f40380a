"""What is refused before it is read: a body that is larger than anything we take."""

from __future__ import annotations

from typing import Any

from django.conf import settings

FORM_BYTES = 2**20  # what a form has around its file


class _BodyTooLarge(Exception):
    """More has come of a body than anything may have."""


class BodyLimit:
    """ASGI middleware: answers a request whose Content-Length is too large without reading its body, which Django would
    write to the disk before any view sees it; and one that does not say its length as soon as it is too long."""

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
            await self.app(scope, _counted(receive, limit), send)
        except _BodyTooLarge:  # the body is read before anything is answered
            await _refuse(send)


def _counted(receive: Any, limit: int) -> Any:
    """`receive`, which raises `_BodyTooLarge` once more than `limit` bytes have come."""
    seen = 0

    async def counted() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _BodyTooLarge
        return message

    return counted


async def _refuse(send: Any) -> None:
    limit = settings.MAX_UPLOAD_BYTES // 2**20
    text = f"Too large: at most {limit} MB are taken at once. Nothing was kept.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _length(scope: dict[str, Any]) -> int:
    given = dict(scope["headers"]).get(b"content-length", b"")
    return int(given) if given.isdigit() else 0
