"""The HTTP interface: OpenAI's chat completions of one model, streamed or whole."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from training.core.errors import BadInput
from training.core.serve.chat_request import CompletionRequest, RequestError, parse_request
from training.core.serve.engine import (
    Conversation,
    End,
    Engine,
    Event,
    Failure,
    Full,
    Piece,
    Sampling,
    Stopping,
)

MAX_BODY_BYTES = 4 * 2**20
RETRY_AFTER_S = 2

ERROR_TYPES = {404: "not_found_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class Server:
    """One model under a name. max_new_tokens: of an answer, at most, and where a request names no number.

    used_at: when a request last came or an answer last ended (time.monotonic). leave: asks the program to end; None where clients
    may not.
    """

    def __init__(
        self, engine: Engine, name: str, max_new_tokens: int, leave: Callable[[], None] | None = None
    ) -> None:
        self.engine, self.name, self.max_new_tokens, self.leave = engine, name, max_new_tokens, leave
        self.started_at = int(time.time())
        self.used_at = time.monotonic()
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/leave", self.leave_if_idle, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
            ],
            exception_handlers={
                RequestError: _request_error,  # type: ignore[dict-item]
                HTTPException: _http_error,  # type: ignore[dict-item]
                ClientDisconnect: _client_gone,
                Exception: _crash,
            },
        )

    @property
    def idle_s(self) -> float:
        """Seconds for which nobody has used the model; 0 while it answers."""
        if self.engine.under_way:
            self.used_at = time.monotonic()
        return time.monotonic() - self.used_at

    async def health(self, request: Request) -> Response:
        """That the model is loaded, and how busy it is. It does not count as use."""
        values = {"status": "ok", "model": self.name, "under_way": self.engine.under_way}
        return JSONResponse(values | {"idle_s": round(self.idle_s, 3), "used_at": self.used_at})

    async def leave_if_idle(self, request: Request) -> Response:
        """End the program, unless it is answering."""
        if self.leave is None:
            raise RequestError("This server listens at a port: end it with SIGTERM.", status=403)
        if self.engine.under_way:
            raise RequestError("The model is answering.", status=409)
        self.leave()
        return JSONResponse({"status": "leaving"})

    async def models(self, request: Request) -> Response:
        self.used_at = time.monotonic()
        model = {
            "id": self.name,
            "object": "model",
            "created": self.started_at,
            "owned_by": "palate",
            "max_model_len": self.engine.encoder.max_length,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def complete(self, request: Request) -> Response:
        self.used_at = time.monotonic()
        asked = parse_request(await _read_body(request))
        if asked.model != self.name:
            raise RequestError(
                f"There is no model {asked.model!r} here; this server has {self.name!r}.", "model", status=404
            )
        prompt, most = await run_in_threadpool(self._encode, asked)  # megabytes take a second
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def deliver(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: the program ends
                loop.call_soon_threadsafe(events.put_nowait, event)

        sampling = Sampling(most, asked.temperature, asked.top_p, asked.seed)
        try:
            conversation = self.engine.submit(prompt, sampling, deliver)
        except Full:
            raise RequestError(
                f"The model answers {self.engine.max_sequences} conversations at once, and as many are under way.",
                status=429,
            ) from None
        except Stopping as error:
            raise RequestError(str(error), status=503) from None
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": self.name,
        }
        if asked.stream:
            chunks = _stream(events, head, include_usage=asked.include_usage)
            return EventStream(chunks, lambda: self._finish(conversation))
        try:
            return await _whole(request, events, head)
        finally:
            self._finish(conversation)

    def _finish(self, conversation: Conversation) -> None:
        self.engine.cancel(conversation)
        self.used_at = time.monotonic()

    def _encode(self, asked: CompletionRequest) -> tuple[list[int], int]:
        """The prompt's tokens, and how many the answer may have. Raises RequestError."""
        encoder = self.engine.encoder
        try:
            prompt = encoder.encode_conversation(asked.messages)
        except BadInput as error:
            text = str(error)
            raise RequestError(f"{text[0].upper()}{text[1:].rstrip('.')}.", "messages") from None
        room = encoder.max_length - len(prompt)
        if asked.max_new_tokens is not None and asked.max_new_tokens > self.max_new_tokens:
            raise RequestError(
                f"The field '{asked.limit_field}' may be {self.max_new_tokens} at most.", asked.limit_field
            )
        if room < (asked.max_new_tokens or 1):
            answer = f" and {asked.max_new_tokens} for the answer" if asked.max_new_tokens else ""
            raise RequestError(
                f"The model's context length is {encoder.max_length} tokens, and the 'messages' have {len(prompt)}{answer}.",
                "messages",
            )
        return prompt, asked.max_new_tokens or min(room, self.max_new_tokens)


class EventStream(StreamingResponse):
    """Server-sent events. on_end: called when they end, also where the client has gone before."""

    def __init__(self, chunks: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(chunks, media_type="text/event-stream", headers=headers)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _stream(
    events: asyncio.Queue[Event], head: dict[str, Any], *, include_usage: bool
) -> AsyncIterator[bytes]:
    """An answer as server-sent events."""
    head = head | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        return _data(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    yield chunk({"role": "assistant", "content": ""})
    while isinstance(event := await events.get(), Piece):
        yield chunk({"content": event.text})
    if isinstance(event, Failure):
        yield _data(_error(event.sentence, None, event.status))
        return
    yield chunk({}, event.finish_reason)
    if include_usage:
        yield _data(head | {"choices": [], "usage": _usage(event)})
    yield b"data: [DONE]\n\n"


async def _whole(request: Request, events: asyncio.Queue[Event], head: dict[str, Any]) -> Response:
    """An answer in one piece. Raises ClientDisconnect as soon as nobody waits for it."""
    gone = asyncio.ensure_future(_wait_until_gone(request))
    answer = asyncio.ensure_future(_gather(events))
    try:
        await asyncio.wait({gone, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        text, event = answer.result()
    finally:
        gone.cancel()
        answer.cancel()
    if isinstance(event, Failure):
        raise RequestError(event.sentence, status=event.status)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": event.finish_reason,
    }
    return JSONResponse(head | {"object": "chat.completion", "choices": [choice], "usage": _usage(event)})


async def _gather(events: asyncio.Queue[Event]) -> tuple[str, End | Failure]:
    """The whole text of an answer, and its last event."""
    pieces = []
    while isinstance(event := await events.get(), Piece):
        pieces.append(event.text)
    return "".join(pieces), event


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"The body has more than {MAX_BODY_BYTES // 2**20} MiB.", status=413)
    return bytes(body)


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _usage(end: End) -> dict[str, Any]:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": end.cached_tokens},
    }


def _error(message: str, param: str | None, status: int) -> dict[str, Any]:
    kind = ERROR_TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


async def _request_error(request: Request, error: RequestError) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status in (429, 503) else {}
    return JSONResponse(_error(str(error), error.param, error.status), error.status, headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    sentence = (
        f"{request.method} {request.url.path} is nothing that this server does; it has GET /v1/models and POST"
        " /v1/chat/completions."
    )
    return JSONResponse(_error(sentence, None, error.status_code), error.status_code, error.headers)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _crash(request: Request, error: Exception) -> Response:
    return JSONResponse(_error(f"The server failed: {type(error).__name__}: {error}", None, 500), 500)
