"""A thread pool for the annotators' requests, which are answered by Django's WSGI handler.

Django's ASGI handler starts a thread for every request and switches between it and the event loop several times, which is
right for long downloads. A submit takes a quarter less CPU time when one of a few pooled threads handles all of it, with a
single switch.

Not the library a2wsgi (1.10.10), which was tried in its place: a submit with the next item took 27.6 instead of 23.6 ms of
CPU time, since it switches for every part of a body and of a response. It also occupies a thread while a slow client sends
its body, passes on a body that was cut off by a disconnect as if it were complete, and lets a header with an underscore
(`x_forwarded_proto`) pass for the proxy's.
"""

from __future__ import annotations

import asyncio
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from io import BytesIO
from typing import Any

MAX_BODY = 2**20
JUDGING = re.compile(r"/p/[^/]+/(?P<part>work|chats)/|/api/v1/projects/[^/]+/chats/")


class WsgiPool:
    """ASGI application: `wsgi` answers requests with small bodies of the queue's pages and of chats, `asgi` all others."""

    def __init__(self, wsgi: Any, asgi: Any, threads: int) -> None:
        self.wsgi, self.asgi = wsgi, asgi
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="work")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        is_small = length.isdigit() and int(length) <= MAX_BODY and b"transfer-encoding" not in headers
        if not (is_small and _is_judging(scope["path"])):
            await self.asgi(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        loop = asyncio.get_running_loop()
        answer = partial(copy_context().run, self._answer, _environ(scope, body))
        start, content = await loop.run_in_executor(self.threads, answer)
        await send(start)
        await send({"type": "http.response.body", "body": content})

    def _answer(self, environ: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        start: dict[str, Any] = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            start["status"] = int(status[:3])
            start["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        response = self.wsgi(environ, start_response)
        try:
            return start, b"".join(response)
        finally:
            response.close()


def _is_judging(path: str) -> bool:
    """Whether it is a page of the queue, or of a chat by page or API: `/p/<project>/work/…`, `/p/<project>/chats/…` and
    `/api/v1/projects/<project>/chats/…`, but what waits for Redis."""
    if not (found := JUDGING.match(path)):
        return False
    return found["part"] == "work" or not path.endswith(("/stream/", "/events/"))


def _environ(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The request as a PEP 3333 environ."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw, value in scope["headers"]:
        if b"_" in raw:
            continue  # it would get the same name as a header with hyphens
        name, text = raw.decode("latin-1").upper().replace("-", "_"), value.decode("latin-1")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = f"HTTP_{name}"
        if name in environ:
            text = environ[name] + ("; " if name == "HTTP_COOKIE" else ",") + text
        environ[name] = text
    return environ
