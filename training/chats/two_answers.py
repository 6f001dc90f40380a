"""Two answers to the same messages, written at once and shown as `BlindStream` allows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from annotation.chat_stream import NewEvent
from annotation.logic.blind_stream import SIDES, BlindStream
from training.chat_servers.client import stream_chat
from training.chat_servers.errors import ChatServerError
from training.chats.policies import Policy

SHOW_S = 0.05
"""How often what has come is shown: a reader sees words come one by one, and each showing costs the site's processes time."""
BEAT_S = 1.0
PAUSES_S = (0.2, 1.0, 3.0, 8.0)
"""Before a side that broke off, or was busy, is asked again."""
CHARS_PER_TOKEN = 32
"""More than any tokenizer's, on average over an answer."""
TIMEOUT_S = 120.0
"""How long a server may send nothing."""
_random = random.SystemRandom()


class Write(Protocol):
    """Sends events at once to whoever reads along."""

    def __call__(self, *events: NewEvent) -> Awaitable[None]: ...


class StopWriting(Exception):
    """Nobody waits for the answers any more."""


class WrittenAnswer(NamedTuple):
    text: str
    seed: int


async def write_two_answers(
    messages: Sequence[dict[str, Any]],
    policies: Sequence[Policy],
    max_new_tokens: int,
    write: Write,
    may_continue: Callable[[], Awaitable[bool]],
    *,
    is_blind: bool = True,
) -> list[WrittenAnswer]:
    """The answers of both policies, in their order. While they are written, `write` gets `piece` events (`side`, `offset`,
    `text`) and, where an answer begins anew, `restart` (`side`).

    A side that fails is asked again, a few times; one that answers with nothing, once more; so is one where both answers are the
    same and somebody is to choose between them.

    is_blind: whether the reader must not know the models (`BlindStream`).

    Raises:
        ChatServerError: a side failed again and again.
        StopWriting: `may_continue`, which is asked every second, returned False.
    """
    both = _Both(messages, policies, max_new_tokens, write, may_continue, BlindStream(is_blind=is_blind))
    await both.write_sides(SIDES)
    texts = both.blind.texts
    by_chance = [side for side, policy in zip(SIDES, policies, strict=True) if policy.temperature]
    if is_blind and texts["a"] == texts["b"] and by_chance:
        await both.restart(by_chance[-1])
        await both.write_sides(by_chance[-1:])
    return [WrittenAnswer(texts[side], both.seeds[side]) for side in SIDES]


class _Both:
    def __init__(
        self,
        messages: Sequence[dict[str, Any]],
        policies: Sequence[Policy],
        max_new_tokens: int,
        write: Write,
        may_continue: Callable[[], Awaitable[bool]],
        blind: BlindStream,
    ) -> None:
        self.messages, self.max_new_tokens = messages, max_new_tokens
        self.policies = dict(zip(SIDES, policies, strict=True))
        self.write, self.may_continue = write, may_continue
        self.blind = blind
        self.seeds: dict[str, int] = {}
        self.beat_at = 0.0

    async def write_sides(self, names: Sequence[str]) -> None:
        """Have these sides answer, and show what comes until they have ended."""
        tasks = [asyncio.create_task(self._answer(name)) for name in names]
        try:
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=SHOW_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                await self._show()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def restart(self, name: str) -> None:
        self.blind.restart(name)
        await self.write(NewEvent("restart", {"side": name}))

    async def _show(self) -> None:
        if pieces := self.blind.take():
            await self.write(*(NewEvent("piece", piece._asdict()) for piece in pieces))
        if time.monotonic() > self.beat_at:
            self.beat_at = time.monotonic() + BEAT_S
            if not await self.may_continue():
                raise StopWriting

    async def _answer(self, name: str) -> None:
        empty, pauses = 0, iter(PAUSES_S)
        while True:
            try:
                await self._stream(name)
            except ChatServerError as error:
                pause = next(pauses, None)
                if pause is None or not error.retriable:
                    raise
                await asyncio.sleep(pause)
            else:
                empty += not self.blind.texts[name].strip()
                if self.blind.texts[name].strip() or empty == 2:
                    break
            if self.blind.texts[name]:
                await self.restart(name)
        self.blind.end(name)

    async def _stream(self, name: str) -> None:
        policy = self.policies[name]
        endpoint = await policy.endpoint()  # started anew, should it have ended
        self.seeds[name] = _random.getrandbits(31)
        answer = stream_chat(
            endpoint,
            self.messages,
            temperature=policy.temperature,
            max_new_tokens=self.max_new_tokens,
            seed=self.seeds[name],
            timeout_s=TIMEOUT_S,
        )
        async with aclosing(answer):
            async for delta in answer:
                self.blind.add(name, delta.text)
                if len(self.blind.texts[name]) > CHARS_PER_TOKEN * self.max_new_tokens:
                    break  # a server that goes on and on
