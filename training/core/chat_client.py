"""A client for OpenAI-compatible servers (vLLM and the like), which generate responses instead of a model of our own.

It uses chat completions: the server has the chat template and the tokenizer, so a prompt is sent as messages, and token ids
are known only if the server returns them (vLLM's `return_token_ids`). Servers differ in the fields that they accept: one
that is refused by name is left out from then on. If fewer responses arrive than requested, the rest is requested again.

Our own instead of the openai package, which costs 2.2 s of CPU to import (httpx2: 0.3 s) and 27 MB, and lacks what runs
depend on: its timeout is per read, not per attempt, so a server that sends slowly never times out; it does not retry after
a Retry-After of more than 120 s, and its pauses never exceed 8 s; it has no limit on the size of an answer; and it sends
OPENAI_ORG_ID and OPENAI_PROJECT_ID to any server.

Left out: streaming, the older completions endpoint, tools and images.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx2

from training.configs import GenerateConfig
from training.core.data import Prompt
from training.core.errors import BadInput
from training.core.events import Events
from training.core.http_client import (
    AnswerTooLarge,
    backoff,
    is_logprob,
    request_json,
    retry_after,
    run_concurrently,
)
from training.core.messages import Message
from training.server_protocol import (
    KEY_VARIABLE,
    RETRIED_STATUSES,
    SERVER_VARIABLE,
    error_message,
    excerpt,
    names_field,
)

OPTIONAL_FIELDS = ("return_token_ids", "top_k", "top_p", "top_logprobs", "logprobs", "seed", "n")
"""Fields of a request that a server may refuse."""

TOP_LOGPROBS = (20, 5)
"""Numbers of likely tokens that are asked for in turn; OpenAI gives 20 at most, others fewer."""

MAX_TOKENS = 10**8
"""Tokens of a request that a server may report; a number beyond it is an error of the server, and is not counted."""


class ServerSettings(Protocol):
    """The settings of every kind of run that may use a server."""

    @property
    def server(self) -> str: ...
    @property
    def server_model(self) -> str: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def timeout_s(self) -> float: ...


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to continue, once for each of the seeds. line: of data.jsonl, for messages.

    wants_alternatives: whether the likely tokens in place of each token are asked for.
    """

    messages: list[Message]
    seeds: Sequence[int]
    line: int
    max_new_tokens: int
    temperature: float
    wants_alternatives: bool = False


@dataclass
class Completion:
    """One response from the server. token_ids, logprobs and alternatives are None if the server did not return them."""

    text: str
    finished: bool
    seed: int
    token_ids: list[int] | None
    logprobs: list[float] | None
    tokens: float
    """Number of tokens as far as the server reported it; an equal part of the total for one of several responses."""
    prompt_tokens: float = 0.0
    """The same of the request."""
    alternatives: list[list[tuple[str, float]]] | None = None
    """For each token the likely tokens in its place, with their log-probs."""


T = TypeVar("T")


def complete_prompts(
    prompts: Sequence[tuple[Prompt, list[int]]],
    config: GenerateConfig,
    events: Events,
    store: Callable[[Prompt, list[Completion]], None],
) -> None:
    """Request responses to every prompt, and call `store` with those of each prompt as they arrive.

    prompts: each with the seeds of its `samples` responses. Up to `concurrency` are requested at a time. Raises Stopped soon
    after SIGTERM, and BadInput for errors that retrying does not solve.
    """

    async def complete(client: ChatClient, item: tuple[Prompt, list[int]]) -> None:
        prompt, seeds = item
        request = ChatRequest(prompt.prompt, seeds, prompt.line, config.max_new_tokens, config.temperature)
        store(prompt, await client.complete(request))

    run_requests(prompts, config, events, complete)


def run_requests(
    items: Iterable[T],
    config: ServerSettings,
    events: Events,
    handle: Callable[[ChatClient, T], Awaitable[None]],
) -> None:
    """Await `handle` for every item, up to `concurrency` at a time; each next item is taken when one is done. Raises what
    `handle` raises, and Stopped soon after SIGTERM."""
    run_concurrently(
        items,
        lambda http: ChatClient(http, config),
        handle,
        server=config.server,
        concurrency=config.concurrency,
        events=events,
    )


class ChatClient:
    """Chat completions of one server. refused_fields: optional fields that this server has refused. top_logprobs: the number of
    likely tokens that it gives."""

    def __init__(self, http: httpx2.AsyncClient, config: ServerSettings) -> None:
        self.http, self.config = http, config
        self.url = config.server.rstrip("/") + "/chat/completions"
        self.refused_fields: set[str] = set()
        self.top_logprobs = TOP_LOGPROBS[0]

    async def complete(self, request: ChatRequest) -> list[Completion]:
        """A response for each of the seeds; those of one request have its first seed."""
        completions: list[Completion] = []
        while len(completions) < len(request.seeds):
            missing = 1 if "n" in self.refused_fields else len(request.seeds) - len(completions)
            completions += await self._request(request, request.seeds[len(completions)], missing)
        return completions

    async def _request(self, request: ChatRequest, seed: int, count: int) -> list[Completion]:
        """At least one response and at most `count`, after retries where needed."""
        failures = 0
        while True:
            fields = self._fields(request, seed, count)
            failure, delay = "", None
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    status, headers, body = await request_json(self.http, self.url, fields)
            except TimeoutError:
                failure = f"it took longer than timeout_s = {self.config.timeout_s:g} seconds"
            except httpx2.TransportError as error:
                failure = str(error) or type(error).__name__
            except AnswerTooLarge as error:
                raise self._server_error(str(error)) from None
            except (httpx2.InvalidURL, httpx2.RequestError) as error:
                raise self._server_error(f"cannot be reached: {error}") from None
            else:
                if status == 200:
                    return self._parse(body, request, seed, count)
                message = error_message(body)
                if refused := self._refused_field(status, message, fields):
                    if refused == "top_logprobs" and self.top_logprobs > TOP_LOGPROBS[-1]:
                        self.top_logprobs = TOP_LOGPROBS[-1]
                        continue
                    self.refused_fields.add(refused)
                    count = 1 if refused == "n" else count
                    continue
                if status not in RETRIED_STATUSES and status < 500:
                    raise self._request_error(status, message, request)
                failure, delay = f"it answered {status}: {message}", retry_after(headers)
            failures += 1
            if failures > self.config.retries:
                raise self._server_error(
                    f"did not answer in {failures} attempts (retries = {self.config.retries}); the last time {failure}"
                )
            await asyncio.sleep(backoff(failures) if delay is None else delay)

    def _fields(self, request: ChatRequest, seed: int, count: int) -> dict[str, Any]:
        """The body of a request: samples from the whole distribution, whatever the server's defaults."""
        optional: dict[str, Any] = {
            "n": count,
            "seed": seed,
            "logprobs": True,
            "top_p": 1.0,
            "top_k": 0,
            "return_token_ids": True,
        }
        if count == 1:
            del optional["n"]
        if request.wants_alternatives and "logprobs" not in self.refused_fields:
            optional["top_logprobs"] = self.top_logprobs
        limit = "max_completion_tokens" if "max_tokens" in self.refused_fields else "max_tokens"
        return {
            "model": self.config.server_model,
            "messages": request.messages,
            "temperature": request.temperature,
            limit: request.max_new_tokens,
        } | {name: value for name, value in optional.items() if name not in self.refused_fields}

    def _refused_field(self, status: int, message: str, fields: dict[str, Any]) -> str | None:
        """The field of the request that the server does not accept, if its message names one that may be left out."""
        if status not in (400, 422):
            return None
        if "max_tokens" in fields and "max_completion_tokens" in message:
            return "max_tokens"
        named = (name for name in OPTIONAL_FIELDS if name in fields and names_field(name, message))
        return next(named, None)

    def _parse(self, body: bytes, request: ChatRequest, seed: int, count: int) -> list[Completion]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise self._server_error(
                f"did not answer with JSON but with {excerpt(body)}; is this the base URL of an OpenAI-compatible API?"
                " It usually ends in /v1"
            ) from None
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list):
            raise self._server_error(f"answered without a list of choices: {excerpt(body)}")
        if not 1 <= len(choices) <= count:
            raise self._server_error(f"returned {len(choices)} responses for a request of {count}")
        usage = answer.get("usage")
        counts = [
            usage.get(name) if isinstance(usage, dict) else None
            for name in ("completion_tokens", "prompt_tokens")
        ]
        tokens, prompt_tokens = (
            count / len(choices) if type(count) is int and 0 <= count <= MAX_TOKENS else 0.0
            for count in counts
        )
        return [self._parse_choice(choice, request, seed, tokens, prompt_tokens) for choice in choices]

    def _parse_choice(
        self, choice: Any, request: ChatRequest, seed: int, tokens: float, prompt_tokens: float
    ) -> Completion:
        message = choice.get("message") if isinstance(choice, dict) else None
        text = message.get("content", False) if isinstance(message, dict) else False
        if not isinstance(text, str | None):
            raise self._server_error(
                f"returned a choice without a text message: {excerpt(json.dumps(choice).encode())}"
            )
        ids = choice.get("token_ids")
        if not (isinstance(ids, list) and ids and all(type(token) is int and token >= 0 for token in ids)):
            ids = None
        # the server's are of the model's own distribution, ours of the one sampled from: equal at these temperatures only
        logprobs = _parse_logprobs(choice.get("logprobs")) if request.temperature in (0.0, 1.0) else None
        if ids is None or logprobs is None or len(ids) != len(logprobs):
            logprobs = None
        finished = choice.get("finish_reason") == "stop"
        alternatives = _parse_alternatives(choice.get("logprobs")) if request.wants_alternatives else None
        written = len(ids) if ids else tokens
        # half of a surrogate pair can be in JSON, and in no file
        text = (text or "").encode(errors="replace").decode()
        return Completion(text, finished, seed, ids, logprobs, written, prompt_tokens, alternatives)

    def _request_error(self, status: int, message: str, request: ChatRequest) -> BadInput:
        """The error for a request that the server refused."""
        config, lowered = self.config, message.lower()
        if status in (401, 403):
            return self._server_error(
                f"refuses the API key ({status}): set {KEY_VARIABLE} in the worker's environment, and {SERVER_VARIABLE} to"
                " the base URL that it belongs to"
            )
        if status == 413 or any(
            words in lowered for words in ("context length", "maximum context", "context window", "too long")
        ):
            setting = "max_new_tokens" if hasattr(config, "max_new_tokens") else None
            limit = f"{setting or 'a reply'} = {request.max_new_tokens}"
            return BadInput(
                f"Line {request.line} of data.jsonl with {limit} does not fit the server's model: {message}",
                setting=setting,
                line=request.line,
            )
        if "model" in lowered or "pinned" in lowered:
            return BadInput(
                f"The server {config.server} has no server_model {config.server_model} ({status}): {message}",
                setting="server_model",
            )
        if status == 404:
            return self._server_error("has no chat completions there (404); a base URL usually ends in /v1")
        return self._server_error(f"refuses the request ({status}): {message}")

    def _server_error(self, predicate: str) -> BadInput:
        return BadInput(f"The server {self.config.server} {predicate.rstrip('.')}.", setting="server")


def _parse_logprobs(value: Any) -> list[float] | None:
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    numbers: list[Any] = [token.get("logprob") if isinstance(token, dict) else None for token in content]
    return [float(number) for number in numbers] if all(map(is_logprob, numbers)) else None


def _parse_alternatives(value: Any) -> list[list[tuple[str, float]]] | None:
    """The likely tokens in place of each token, with their log-probs; None if they are not there, or empty, for any."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list) or not content:
        return None
    places: list[list[tuple[str, float]]] = []
    for token in content:
        listed = token.get("top_logprobs") if isinstance(token, dict) else None
        if not isinstance(listed, list) or not listed:
            return None
        found = [
            (one["token"], float(one["logprob"]))
            for one in listed
            if isinstance(one, dict) and isinstance(one.get("token"), str) and is_logprob(one.get("logprob"))
        ]
        if not found:
            return None
        places.append(found)
    return places
