"""An id for each request: in its log lines, its response, and what it starts."""

from __future__ import annotations

import re
import uuid
from typing import Any

from config.log_context import log_ids

HEADER = b"x-request-id"
ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """ASGI middleware, the outermost: the server's own log lines of a request have its id too."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(HEADER, b"")
        request_id = sent if ID.fullmatch(sent) else uuid.uuid4().hex.encode()

        async def send_with_id(message: dict[str, Any]) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
            await send(message)

        with log_ids(request_id=request_id.decode()):
            await self.app(scope, receive, send_with_id)
