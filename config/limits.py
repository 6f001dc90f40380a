"""What is refused before it is read: a body that is larger than anything we take."""

from __future__ import annotations

from typing import Any

from django.conf import settings

FORM_BYTES = 2**20  # what a form has around its file


class Refuse413:
    """ASGI middleware: answers a request whose Content-Length is too large without reading its body, which Django would
    write to the disk before any view sees it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and _length(scope) > settings.MAX_UPLOAD_BYTES + FORM_BYTES:
            limit = settings.MAX_UPLOAD_BYTES // 2**20
            text = f"Too large: at most {limit} MB are taken at once. Nothing was kept.\n".encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": text})
            return
        await self.app(scope, receive, send)


def _length(scope: dict[str, Any]) -> int:
    given = dict(scope["headers"]).get(b"content-length", b"")
    return int(given) if given.isdigit() else 0
