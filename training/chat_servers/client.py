"""Streams an answer from a server with OpenAI's chat completions: ours (`python -m training.core.serve`), vLLM, or another.

Servers differ: one that refuses an optional field by name is asked again without it, and one that does not stream answers in one
piece. Whatever else is wrong with an answer is a `ChatServerError`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from django.utils.translation import gettext as _

from training.chat_servers.errors import ChatServerError
from training.chat_servers.server_sent_events import MAX_LINE_BYTES, EventParser, LineTooLong
from training.server_protocol import (
    KEY_VARIABLE,
    RETRIED_STATUSES,
    SERVER_VARIABLE,
    error_message,
    excerpt,
    names_field,
)

MAX_ANSWER_BYTES = 16 * 2**20
"""Size of an answer at most, as it is sent: some 200 bytes a token."""
CONNECT_S = 10.0
MAX_COUNT = 10**8
"""Tokens that a server may report; a number beyond it is an error of the server, and is not passed on."""

LIMITS = ("max_tokens", "max_completion_tokens")
OPTIONAL_FIELDS = ("top_k", "top_p", "seed", "stream_options")
"""Fields of a request that a server may refuse."""
TOO_LONG = ("context length", "max_model_len")
"""How servers call the tokens that a conversation may have; vLLM says the second of a limit that is more by itself."""


class Endpoint(NamedTuple):
    """Where a model answers. url: the base URL, which usually ends in /v1. socket: of a server on this machine. key: the API key.

    Its text is the start of a sentence.
    """

    url: str
    model: str
    socket: Path | None = None
    key: str = ""

    def __str__(self) -> str:
        text = _("The model %(model)s") if self.socket else _("The server %(url)s")
        return text % {"model": self.model, "url": self.url}


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. The last one has a finish_reason (`stop`, `length` or another of the server), and numbers of tokens
    as far as the server reports them."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


def http_client(endpoint: Endpoint) -> httpx2.AsyncClient:
    """A client with the connections of one endpoint."""
    if endpoint.socket:
        return httpx2.AsyncClient(transport=socket_transport(endpoint.socket))
    return httpx2.AsyncClient(verify=_tls())


def socket_transport(socket: Path) -> httpx2.AsyncHTTPTransport:
    """A transport to a server on this machine. Without TLS: to load certificates takes longer than a request."""
    return httpx2.AsyncHTTPTransport(uds=str(socket), verify=False)


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


async def stream_chat(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    *,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    timeout_s: float,
    http: httpx2.AsyncClient | None = None,
) -> AsyncGenerator[Delta]:
    """The answer to a conversation, in pieces. Closing the iterator early (`contextlib.aclosing`) ends the generation.

    timeout_s: how long the server may send nothing. http: a client of `http_client` that is kept open for several requests.

    Raises:
        ChatServerError: the server does not answer, refuses the request, or stops before the end of the answer.
    """
    required: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": temperature,
        "max_tokens": max_new_tokens,
        "stream": True,
    }
    # samples from the whole distribution, whatever the server's defaults
    optional: dict[str, Any] = {
        "top_k": 0,
        "top_p": 1.0,
        "seed": seed,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    url = endpoint.url.rstrip("/") + "/chat/completions"
    timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
    async with AsyncExitStack() as stack:
        if http is None:
            http = await stack.enter_async_context(http_client(endpoint))
        try:
            while True:
                request = required | optional
                async with http.stream(
                    "POST", url, json=request, headers=headers, timeout=timeout
                ) as response:
                    if response.status_code == 200:
                        async for delta in _read_answer(endpoint, response):
                            yield delta
                        return
                    body = await _read_all(endpoint, response)
                    if not _leave_out_refused(response.status_code, error_message(body), required, optional):
                        raise _refusal(endpoint, response.status_code, error_message(body))
        except httpx2.TimeoutException:
            text = _("%(server)s has sent nothing for %(seconds)g seconds.")
            raise ChatServerError(text % {"server": endpoint, "seconds": timeout_s}, retriable=True) from None
        except LineTooLong:
            raise _too_large(endpoint, MAX_LINE_BYTES) from None
        except (httpx2.InvalidURL, httpx2.RequestError, UnicodeError) as error:
            is_retriable = isinstance(error, httpx2.TransportError) and not isinstance(
                error, httpx2.UnsupportedProtocol
            )
            is_connected = is_retriable and not isinstance(error, httpx2.ConnectError)
            text = (
                _("%(server)s broke off: %(reason)s.")
                if is_connected
                else _("%(server)s cannot be reached: %(reason)s.")
            )
            values = {"server": endpoint, "reason": (str(error) or type(error).__name__).rstrip(".")}
            raise ChatServerError(text % values, retriable=is_retriable) from None


async def _read_answer(endpoint: Endpoint, response: httpx2.Response) -> AsyncIterator[Delta]:
    """The pieces of an answer that is streamed, or not."""
    answer, parser, size, start = Answer(endpoint), EventParser(), 0, b""
    is_stream = False
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        _check_size(endpoint, size)
        if not is_stream:
            # an object where events should be: the server does not stream
            start += chunk
            if not start.lstrip() or start.lstrip().startswith(b"{"):
                continue
            is_stream, chunk = True, start
        for data in parser.feed(chunk):
            if data.strip() == "[DONE]":
                yield answer.last()
                return
            if text := answer.read(data):
                yield Delta(text)
    if not is_stream:
        text = answer.read(start.decode("utf-8", "replace"))
        yield replace(answer.last(), text=text)
        return
    for data in parser.feed(b""):
        if data.strip() != "[DONE]" and (text := answer.read(data)):
            yield Delta(text)
    yield answer.last()


class Answer:
    """What is known of an answer after the chunks that were read."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self._half = ""  # of a surrogate pair, whose other half may come with the next chunk

    def read(self, data: str) -> str:
        """The text of a chunk of the answer, or of a whole one, both as JSON."""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise self._error(_("%(server)s sent something else than an answer: %(excerpt)s"), data)
        if chunk.get("error") or chunk.get("object") == "error":
            raise self._reported_error(chunk, data)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise self._error(_("%(server)s sent something else than an answer: %(excerpt)s"), data)
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage
        texts = [self._choice_text(choice, data) for choice in choices]
        return self._clean("".join(texts))

    def last(self) -> Delta:
        """The end of the answer. Raises ChatServerError if it is not complete."""
        if self.finish_reason is None:
            text = _("%(server)s ended the answer without saying why; it may not be complete.")
            raise ChatServerError(text % {"server": self.endpoint}, retriable=True)
        details = self.usage.get("prompt_tokens_details")
        return Delta(
            "\N{REPLACEMENT CHARACTER}" if self._half else "",
            self.finish_reason,
            prompt_tokens=_count(self.usage.get("prompt_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
            completion_tokens=_count(self.usage.get("completion_tokens")),
        )

    def _choice_text(self, choice: Any, data: str) -> str:
        message = choice.get("delta", choice.get("message")) if isinstance(choice, dict) else None
        if message is None and isinstance(choice, dict) and choice.get("finish_reason"):
            message = {}
        text = message.get("content") if isinstance(message, dict) else 0
        if not isinstance(text, str | None):
            raise self._error(_("%(server)s sent a choice without a text: %(excerpt)s"), data)
        if reason := choice.get("finish_reason"):
            self.finish_reason = str(reason)
        return text or ""

    def _clean(self, text: str) -> str:
        """Text that can be stored: half surrogate pairs, which JSON may hold, and NUL are replaced."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(self._half) if self._half else text
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")

    def _error(self, text: str, data: str) -> ChatServerError:
        values = {"server": self.endpoint, "excerpt": excerpt(data.encode(errors="replace"))}
        return ChatServerError(text % values, retriable=False)

    def _reported_error(self, chunk: dict[str, Any], data: str) -> ChatServerError:
        """The error that a server sends within an answer."""
        error = chunk.get("error")
        code = (error if isinstance(error, dict) else chunk).get("code")
        is_retriable = type(code) is not int or code >= 500 or code in RETRIED_STATUSES
        text = _("%(server)s ended the answer: %(message)s.")
        message = error_message(data.encode(errors="replace")).rstrip(".")
        return ChatServerError(text % {"server": self.endpoint, "message": message}, retriable=is_retriable)


def _leave_out_refused(status: int, message: str, required: dict[str, Any], optional: dict[str, Any]) -> bool:
    """Change the fields of a request as an error message asks for; False if there is nothing to change."""
    if status not in (400, 422):
        return False
    if _is_too_long(message) and not required.keys().isdisjoint(LIMITS):
        # the rest of the context is less than the limit: then the server's own one, all that fits, is the right one
        for name in LIMITS:
            required.pop(name, None)
        return True
    if "max_tokens" in required and "max_completion_tokens" in message:
        required["max_completion_tokens"] = required.pop("max_tokens")
        return True
    refused = next(
        (name for name in OPTIONAL_FIELDS if name in optional and names_field(name, message)), None
    )
    if refused is None:
        return False
    del optional[refused]
    return True


def _refusal(endpoint: Endpoint, status: int, message: str) -> ChatServerError:
    """The error for a request that was not answered."""
    values = {"server": endpoint, "status": status, "message": message.rstrip("."), "model": endpoint.model}
    if status in (401, 403):
        text = _(
            "%(server)s refuses the API key (%(status)s): set %(key)s in the worker's environment, and %(url)s to the base URL"
            " that it belongs to."
        )
        values |= {"key": KEY_VARIABLE, "url": SERVER_VARIABLE}
    elif status == 413 or _is_too_long(message):
        text = _("The conversation is too long for the model: %(message)s.")
    elif status == 404 and not names_field(endpoint.model, message) and "model" not in message.lower():
        text = _("%(server)s has no chat completions there (404); a base URL usually ends in /v1.")
    else:
        text = _("%(server)s answers %(status)s: %(message)s.")
    return ChatServerError(text % values, retriable=status >= 500 or status in RETRIED_STATUSES)


def _is_too_long(message: str) -> bool:
    """Whether a server says that a conversation and its answer have no room."""
    return any(words in message.lower() for words in TOO_LONG)


async def _read_all(endpoint: Endpoint, response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        _check_size(endpoint, len(body))
    return bytes(body)


def _check_size(endpoint: Endpoint, size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise _too_large(endpoint, MAX_ANSWER_BYTES)


def _too_large(endpoint: Endpoint, limit: int) -> ChatServerError:
    text = _("%(server)s sent more than %(limit)s MiB at once.")
    return ChatServerError(text % {"server": endpoint, "limit": limit // 2**20}, retriable=False)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None
