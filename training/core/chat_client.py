"""Responses from an OpenAI-compatible server (vLLM and the like) instead of a model of our own.

Chat completions: the server has the chat template and the tokenizer, so a prompt goes there as messages, and ids come
back only where the server tells them (vLLM's `return_token_ids`). Some servers know less than others: a field that one
refuses by name is left out from then on, and where fewer responses come than were asked for, it is asked again.

The key comes from the environment, `PALATE_API_KEY`, and is sent to no server but the one that `PALATE_API_SERVER` names
by its base URL: whoever may start a run must not be able to have the key sent elsewhere.

Left out: streaming, the older completions endpoint, tools and pictures.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from training.configs import GenerateConfig
from training.core.data import Prompt
from training.core.errors import BadInput
from training.core.events import Events

KEY, KEYS_SERVER = "PALATE_API_KEY", "PALATE_API_SERVER"

PASSING = {408, 409, 425, 429}
"""Statuses after which the same request may succeed; so may those from 500 up."""

FIRST_DELAY_S, LONGEST_DELAY_S, LONGEST_ASKED_DELAY_S = 0.5, 60.0, 600.0
LONGEST_ANSWER = 64 * 2**20
"""Bytes of one answer; no honest one comes near."""


@dataclass
class Answer:
    """One response as the server gave it. ids and logprobs are None where it did not tell them."""

    text: str
    finished: bool
    seed: int
    token_ids: list[int] | None
    logprobs: list[float] | None
    tokens: float
    """How many it has, as far as the server said; one of several responses has its share of their sum."""


def answer_all(
    prompts: Sequence[tuple[Prompt, list[int]]],
    config: GenerateConfig,
    events: Events,
    keep: Callable[[Prompt, list[Answer]], None],
) -> None:
    """Have the server answer every prompt, and `keep` called with each one's responses as they come.

    prompts: each with the seeds of its `samples` responses. Up to `concurrency` are under way at once. Raises Stopped soon
    after SIGTERM, and BadInput in one sentence for what asking again cannot cure.
    """
    asyncio.run(_answer_all(prompts, config, events, keep))


async def _answer_all(
    prompts: Sequence[tuple[Prompt, list[int]]],
    config: GenerateConfig,
    events: Events,
    keep: Callable[[Prompt, list[Answer]], None],
) -> None:
    waiting = iter(prompts)
    limits = httpx2.Limits(max_connections=config.concurrency)
    async with httpx2.AsyncClient(headers=_headers(config.server), limits=limits, timeout=None) as client:
        server = Server(client, config)

        async def work() -> None:
            for prompt, seeds in waiting:
                keep(prompt, await server.answers(prompt, seeds))

        workers = {asyncio.create_task(work()) for _ in range(min(config.concurrency, len(prompts)))}
        try:
            going = workers
            while going:
                events.leave_if_asked()
                over, going = await asyncio.wait(going, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for worker in over:
                    worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


class Server:
    """One server and what was learned of it: `left_out` are the fields that it refused."""

    def __init__(self, client: httpx2.AsyncClient, config: GenerateConfig) -> None:
        self.client, self.config = client, config
        self.url = config.server.rstrip("/") + "/chat/completions"
        self.left_out: set[str] = set()

    async def answers(self, prompt: Prompt, seeds: Sequence[int]) -> list[Answer]:
        """A response for each of the seeds; those that come with one request have its first."""
        found: list[Answer] = []
        while len(found) < len(seeds):
            more = len(seeds) - len(found)
            found += await self._ask(prompt, seeds[len(found)], 1 if "n" in self.left_out else more)
        return found

    async def _ask(self, prompt: Prompt, seed: int, count: int) -> list[Answer]:
        """At least one response and at most `count`."""
        failures = 0
        while True:
            request = self._request(prompt, seed, count)
            failure, delay = "", None
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    status, headers, body = await self._post(request)
            except TimeoutError:
                failure = f"it took longer than timeout_s = {self.config.timeout_s:g} seconds"
            except httpx2.TransportError as error:
                failure = str(error) or type(error).__name__
            except (httpx2.InvalidURL, httpx2.RequestError) as error:
                raise self._wrong(f"cannot be asked: {error}") from None
            else:
                if status == 200:
                    return self._read(body, seed, count)
                said = _said(body)
                if refused := self._refused(status, said, request):
                    self.left_out.add(refused)
                    count = 1 if refused == "n" else count
                    continue
                if status not in PASSING and status < 500:
                    raise self._refusal(status, said, prompt)
                failure, delay = f"it answered {status}: {said}", _asked_delay(headers)
            failures += 1
            if failures > self.config.retries:
                raise self._wrong(
                    f"did not answer in {failures} tries (retries = {self.config.retries}); the last time {failure}"
                )
            await asyncio.sleep(_delay(failures) if delay is None else delay)

    def _request(self, prompt: Prompt, seed: int, count: int) -> dict[str, Any]:
        """What is asked for: nothing cut off the distribution, whatever the server's defaults."""
        config = self.config
        extras: dict[str, Any] = {
            "n": count,
            "seed": seed,
            "logprobs": True,
            "top_p": 1.0,
            "top_k": 0,
            "return_token_ids": True,
        }
        if count == 1:
            del extras["n"]
        longest = "max_completion_tokens" if "max_tokens" in self.left_out else "max_tokens"
        return {
            "model": config.server_model,
            "messages": prompt.prompt,
            "temperature": config.temperature,
            longest: config.max_new_tokens,
        } | {name: value for name, value in extras.items() if name not in self.left_out}

    async def _post(self, request: dict[str, Any]) -> tuple[int, httpx2.Headers, bytes]:
        async with self.client.stream("POST", self.url, json=request) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LONGEST_ANSWER:
                    raise self._wrong(f"sent an answer of more than {LONGEST_ANSWER // 2**20} MiB")
            return response.status_code, response.headers, bytes(body)

    def _refused(self, status: int, said: str, request: dict[str, Any]) -> str | None:
        """The field of the request that the server does not know, where it names one that is not essential."""
        if status not in (400, 422):
            return None
        if "max_tokens" in request and "max_completion_tokens" in said:
            return "max_tokens"
        optional = ("return_token_ids", "top_k", "top_p", "logprobs", "seed", "n")
        named = (name for name in optional if name in request and _names(name, said))
        return next(named, None)

    def _read(self, body: bytes, seed: int, count: int) -> list[Answer]:
        try:
            whole = json.loads(body)
        except ValueError:
            raise self._wrong(
                f"did not answer with JSON but with {_shown(body)}; is this the base URL of an OpenAI-compatible API? It"
                " usually ends in /v1"
            ) from None
        choices = whole.get("choices") if isinstance(whole, dict) else None
        if not isinstance(choices, list):
            raise self._wrong(f"answered without a list of choices: {_shown(body)}")
        if not 1 <= len(choices) <= count:
            raise self._wrong(f"gave {len(choices)} responses where {count} were asked for")
        usage = whole.get("usage")
        spent = usage.get("completion_tokens") if isinstance(usage, dict) else None
        share = spent / len(choices) if type(spent) is int else 0.0
        return [self._answer(choice, seed, share) for choice in choices]

    def _answer(self, choice: Any, seed: int, share: float) -> Answer:
        message = choice.get("message") if isinstance(choice, dict) else None
        text = message.get("content", False) if isinstance(message, dict) else False
        if not isinstance(text, str | None):
            raise self._wrong(
                f"gave a choice without a message of text: {_shown(json.dumps(choice).encode())}"
            )
        ids = choice.get("token_ids")
        if not (isinstance(ids, list) and ids and all(type(token) is int and token >= 0 for token in ids)):
            ids = None
        # the server's are of the model as it is, ours of what was sampled from: the same at these temperatures only
        logprobs = _logprobs(choice.get("logprobs")) if self.config.temperature in (0.0, 1.0) else None
        if ids is None or logprobs is None or len(ids) != len(logprobs):
            logprobs = None
        finished = choice.get("finish_reason") == "stop"
        return Answer(text or "", finished, seed, ids, logprobs, len(ids) if ids else share)

    def _refusal(self, status: int, said: str, prompt: Prompt) -> BadInput:
        """The sentence for a request that the server turned down."""
        config, low = self.config, said.lower()
        if status in (401, 403):
            return self._wrong(
                f"refuses the API key ({status}): set {KEY} in the worker's environment, and {KEYS_SERVER} to the base URL"
                " that it is for"
            )
        if status == 413 or any(
            words in low for words in ("context length", "maximum context", "context window", "too long")
        ):
            return BadInput(
                f"Line {prompt.line} of data.jsonl with max_new_tokens = {config.max_new_tokens} does not fit the server's"
                f" model: {said}",
                setting="max_new_tokens",
                line=prompt.line,
            )
        if "model" in low or "pinned" in low:
            return BadInput(
                f"The server {config.server} has no server_model {config.server_model} ({status}): {said}",
                setting="server_model",
            )
        if status == 404:
            return self._wrong("has no chat completions there (404); a base URL usually ends in /v1")
        return self._wrong(f"refuses the request ({status}): {said}")

    def _wrong(self, what: str) -> BadInput:
        return BadInput(f"The server {self.config.server} {what}.", setting="server")


def _names(field: str, said: str) -> bool:
    """Whether a refusal names the field: between quotation marks or, as OpenAI does, after what it was supplied."""
    quoted = any(mark + field + mark in said for mark in "'\"`")
    return quoted or bool(re.search(rf"supplied: .*\b{field}\b", said))


def _headers(server: str) -> dict[str, str]:
    """The key, where it is meant for this server."""
    key, meant = os.environ.get(KEY, ""), os.environ.get(KEYS_SERVER, "")
    return {"Authorization": f"Bearer {key}"} if key and meant.rstrip("/") == server.rstrip("/") else {}


def _delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, by chance a half more or less so that those
    who were turned away together do not come back together."""
    longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (failures - 1))
    return longest * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def _asked_delay(headers: httpx2.Headers) -> float | None:
    """Seconds that the server wants us to wait (Retry-After, as a number or a date), within reason."""
    asked = headers.get("retry-after", "")
    try:
        seconds = float(asked)
    except ValueError:
        try:
            when = parsedate_to_datetime(asked)
        except ValueError:
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(
            UTC
        ).timestamp()
    return min(max(seconds, 0.0), LONGEST_ASKED_DELAY_S) if seconds == seconds else None


def _logprobs(given: Any) -> list[float] | None:
    content = given.get("content") if isinstance(given, dict) else None
    if not isinstance(content, list):
        return None
    values: list[Any] = [one.get("logprob") if isinstance(one, dict) else None for one in content]
    return (
        [float(value) for value in values] if all(type(value) in (int, float) for value in values) else None
    )


def _said(body: bytes) -> str:
    """What a server says is wrong, in whichever of the usual places."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return _shown(body)
    for name in ("error", "message", "detail"):
        if isinstance(told, dict) and name in told:
            told = told[name]
    return _shown((told if isinstance(told, str) else json.dumps(told)).encode())


def _shown(body: bytes) -> str:
    """The beginning of an answer, on one line."""
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    return (text if len(text) <= 200 else text[:200] + "…") or "nothing"
