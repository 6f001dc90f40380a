from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from config.body_limits import FORM_BYTES, BodyLimit


def answer(length: str | None, kind: str = "http") -> tuple[list[dict[str, Any]], list[str]]:
    """What the middleware sends, and whether the application behind it was reached."""
    sent: list[dict[str, Any]] = []
    reached: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", length.encode())]
    async_to_sync(BodyLimit(app))({"type": kind, "headers": headers}, receive, send)
    return sent, reached


@override_settings(MAX_UPLOAD_BYTES=10 * 2**20)
def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    sent, reached = answer(str(10 * 2**20 + FORM_BYTES + 1))
    assert sent[0]["status"] == 413
    assert b"limit is 10 MB" in sent[1]["body"]
    assert not reached


@pytest.mark.parametrize("length", [None, "0", str(10 * 2**20 + FORM_BYTES), "nonsense"])
@override_settings(MAX_UPLOAD_BYTES=10 * 2**20)
def test_everything_else_goes_through(length: str | None) -> None:
    assert answer(length) == ([], ["http"])


def test_other_protocols_go_through() -> None:
    assert answer(None, "websocket") == ([], ["websocket"])


@override_settings(MAX_UPLOAD_BYTES=10 * 2**20)
def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long() -> None:
    sent: list[dict[str, Any]] = []
    pieces: list[int] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pieces.append(2**20)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(2**20), "more_body": len(pieces) < 100}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async_to_sync(BodyLimit(app))({"type": "http", "headers": []}, receive, send)
    assert sum(pieces) == 10 * 2**20 + FORM_BYTES
    assert sent[0]["status"] == 413
