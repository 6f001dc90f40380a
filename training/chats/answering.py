"""Answering a turn: the worker's part, from the claim to both answers in PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import connections

from annotation import chat_stream
from annotation.actions import chat_answers
from annotation.actions.chat_answers import Answer
from annotation.logic.blind_stream import SIDES
from annotation.models import Turn
from config.shutdown import is_stopping
from training.chat_servers.errors import ChatServerError
from training.chats.sides import Side, policies_of
from training.chats.two_answers import BEAT_S, Unwanted, Write, write_two_answers
from training.errors import RunError

log = logging.getLogger(__name__)
P, T = ParamSpec("P"), TypeVar("T")
_random = random.SystemRandom()


async def answer(turn: Turn) -> None:
    """Answer a claimed turn. Pages read along in the turn's stream (`annotation.chat_stream`), whose last event says that both
    answers are stored, or why there are none."""
    async with chat_stream.connect() as client:

        async def write(name: str, /, **data: Any) -> None:
            try:
                await chat_stream.write(client, turn.pk, name, **data)
            except chat_stream.RedisError as error:  # pages show the answers once they are stored
                log.warning("could not write to the stream of turn %s: %s", turn.pk, error)

        for side in SIDES:  # what an earlier worker wrote is void
            await write("restart", side=side)
        try:
            await _write_and_store(turn, write)
        except Unwanted:
            await _in_thread(chat_answers.give_back, turn)
        except (ChatServerError, RunError) as error:
            await _in_thread(chat_answers.fail, turn=turn, reason=str(error))
            await write("failed")
        else:
            await write("end")


async def _write_and_store(turn: Turn, write: Write) -> None:
    async def is_wanted() -> bool:
        return not is_stopping() and await _in_thread(chat_answers.beat, turn)

    policies, max_new_tokens = await _in_thread(policies_of, turn.chat.project)
    _random.shuffle(policies)  # the place on the screen tells nothing
    loading = asyncio.gather(*(policy.endpoint() for policy in policies))
    try:
        while not loading.done():
            await asyncio.wait([loading], timeout=BEAT_S)
            if not await is_wanted():
                raise Unwanted
    finally:
        loading.cancel()
    sides = [
        Side(endpoint, policy.temperature)
        for endpoint, policy in zip(loading.result(), policies, strict=True)
    ]
    texts = await write_two_answers(turn.prompt.messages, sides, max_new_tokens, write, is_wanted)
    both = list(zip(policies, texts, strict=True))
    await _in_thread(
        chat_answers.store,
        turn=turn,
        answers=[
            Answer(policy.author.pk, text.text, {"temperature": policy.temperature, "seed": text.seed})
            for policy, text in both
        ],
        sides=[policy.as_data(text.seed) for policy, text in both],
    )


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, which queries the database, from a thread whose connection goes back to the pool."""

    def call() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)
