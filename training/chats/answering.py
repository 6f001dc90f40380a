"""Answering a turn of a chat, or a question of the playground: the worker's part, from the claim to both answers in store."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout

from annotation import chat_stream
from annotation.actions import chat_answers
from annotation.actions.chat_answers import Answer
from annotation.chat_stream import NewEvent
from annotation.logic.blind_stream import SIDES
from annotation.models import Turn
from config.shutdown import is_stopping
from training.chat_servers.errors import ChatServerError
from training.chats import playground
from training.chats.playground import Question
from training.chats.policies import policies_in, policies_of
from training.chats.two_answers import StopWriting, Write, write_two_answers
from training.errors import RunError

log = logging.getLogger(__name__)
DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)
P = ParamSpec("P")
T = TypeVar("T")
_random = random.SystemRandom()


async def answer_turn(turn: Turn) -> None:
    """Answer a claimed turn. Pages read along in its stream (`annotation.chat_stream`), whose last event says that both answers
    are stored, or why there are none."""

    async def may_continue() -> bool:
        return not is_stopping() and await _in_thread(chat_answers.beat, turn)

    async with _writer(turn.stream) as write:
        # what an earlier worker wrote is void
        await write(*(NewEvent("restart", {"side": side}) for side in SIDES))
        try:
            policies, max_new_tokens = await _in_thread(policies_of, turn.chat.project)
            _random.shuffle(policies)  # the place on the screen tells nothing
            texts = await write_two_answers(
                turn.prompt.messages, policies, max_new_tokens, write, may_continue
            )
        except StopWriting:
            await _in_thread(chat_answers.give_back, turn)
            return
        except (ChatServerError, RunError) as error:
            await _fail(turn, str(error), write)
            return
        except DATABASE_UNAVAILABLE:
            raise  # the next worker answers it
        except Exception as error:
            log.exception("turn %s could not be answered", turn.pk)
            await _fail(turn, f"{type(error).__name__}: {error}", write)
            return
        both = list(zip(policies, texts, strict=True))
        is_stored = await _in_thread(
            chat_answers.store,
            turn=turn,
            answers=[
                Answer(policy.author.pk, text.text, {"temperature": policy.temperature, "seed": text.seed})
                for policy, text in both
            ],
            sides=[policy.as_data(text.seed) for policy, text in both],
        )
        if is_stored:
            await write(NewEvent("end", {}))


async def _fail(turn: Turn, reason: str, write: Write) -> None:
    log.warning("turn %s was not answered: %s", turn.pk, reason)
    if await _in_thread(chat_answers.fail, turn=turn, reason=reason):
        await write(NewEvent("failed", {}))


async def answer_question(question: Question) -> None:
    """Answer a question of the playground; as `answer_turn`, but by name and into the cache."""

    async def may_continue() -> bool:
        playground.beat(question)
        return not is_stopping()

    async with _writer(question.stream) as write:
        try:
            policies = await _in_thread(policies_in, question.models, question.temperature)
            first, second = await write_two_answers(
                question.messages, policies, question.max_new_tokens, write, may_continue, is_blind=False
            )
        except StopWriting:
            playground.keep(question._replace(error=_("The worker was stopped. Ask again.")))
        except (ChatServerError, RunError) as error:
            playground.keep(question._replace(error=str(error)))
        except Exception as error:
            log.exception("question %s could not be answered", question.key)
            playground.keep(question._replace(error=f"{type(error).__name__}: {error}"))
        else:
            playground.keep(question._replace(texts=(first.text, second.text)))
        await write(NewEvent("end", {}))


@asynccontextmanager
async def _writer(stream: str) -> AsyncIterator[Write]:
    """Writes to a stream; where Redis is away, to nobody: pages show the answers once they are stored."""
    async with chat_stream.connect() as client:

        async def write(*events: NewEvent) -> None:
            try:
                await chat_stream.write(client, stream, events)
            except chat_stream.RedisError as error:
                log.warning("could not write to the stream %s: %s", stream, error)

        yield write


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, which queries the database, from a thread whose connection goes back to the pool."""

    def call() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)
