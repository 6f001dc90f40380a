"""The hot loop's short way through the web process: which requests take it, and what arrives at either end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from config.wsgi_pool import MAX_BODY, WsgiPool

WORK = "/p/a-project/work/"


async def long_way(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"long"})


class Site:
    """A WSGI application that notes what it was asked."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.environ, self.body = environ, environ["wsgi.input"].read()
        self.thread, self.is_closed = threading.current_thread().name, False
        start_response("201 Created", [("X-One", "a"), ("Set-Cookie", "b=1"), ("Set-Cookie", "c=2")])
        return self

    def __iter__(self) -> Any:
        return iter([b"sh", b"ort"])

    def close(self) -> None:
        self.is_closed = True


async def ask(
    site: Site,
    path: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
    parts: Sequence[bytes] = (b"",),
) -> list[dict[str, Any]]:
    incoming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    incoming[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"a=b",
        "http_version": "1.1",
        "scheme": "https",
        "client": ("10.0.0.9", 5),
        "headers": headers,
    }
    await WsgiPool(site, long_way, 2)(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "path",
    [
        *(WORK, f"{WORK}skip/", f"{WORK}draft/"),
        *(
            "/p/a-project/chats/",
            "/p/a-project/chats/1/2/judge/",
            "/api/v1/projects/a-project/chats/1/turns/",
        ),
    ],
)
async def test_the_annotators_pages_are_answered_in_a_thread(path: str) -> None:
    site = Site()
    start, body = await ask(site, path, parts=[b"rank", b"=1"])
    assert start["status"] == 201
    assert start["headers"] == [(b"x-one", b"a"), (b"set-cookie", b"b=1"), (b"set-cookie", b"c=2")]
    assert body["body"] == b"short"
    assert (site.body, site.is_closed) == (b"rank=1", True)
    assert site.thread.startswith("work")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/p/a-project/", "/p/a-project/data/", "/p/work/data/", "/x/p/work/", "/p/a/b/work/"),
        *("/p/a-project/chats/1/2/stream/", "/p/a-project/chats/1/2/events/"),
        *("/api/v1/projects/a-project/chats/1/turns/2/stream/", "/api/v1/projects/chats/items/"),
    ],
)
async def test_all_else_goes_the_long_way(path: str) -> None:
    assert (await ask(Site(), path))[0]["status"] == 299


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", str(MAX_BODY + 1).encode())],
        [(b"content-length", b"-1")],
        [(b"transfer-encoding", b"chunked")],
    ],
)
async def test_a_large_body_goes_the_long_way(headers: list[tuple[bytes, bytes]]) -> None:
    assert (await ask(Site(), WORK, headers))[0]["status"] == 299


async def test_a_request_that_is_given_up_is_not_answered() -> None:
    site = Site()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": WORK, "headers": []}
    await WsgiPool(site, long_way, 1)(scope, receive, sent.append)
    assert sent == []
    assert not hasattr(site, "environ")


async def test_the_application_learns_who_asks_for_what() -> None:
    site = Site()
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"0"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-forwarded-proto", b"http"),
        (b"x_forwarded_proto", b"https"),
    ]
    await ask(site, "/p/prüfung/work/", headers)
    told = site.environ
    assert told["PATH_INFO"].encode("latin-1").decode() == "/p/prüfung/work/"
    assert (told["REQUEST_METHOD"], told["QUERY_STRING"], told["wsgi.url_scheme"]) == ("POST", "a=b", "https")
    assert (told["CONTENT_TYPE"], told["CONTENT_LENGTH"], told["REMOTE_ADDR"]) == (
        "text/plain",
        "0",
        "10.0.0.9",
    )
    assert told["HTTP_COOKIE"] == "a=1; b=2"
    assert told["HTTP_X_FORWARDED_PROTO"] == "http"  # nobody passes for the proxy with an underscore
