"""The playground: a lead's own messages, answered by two models. Nothing of it is stored for longer than `KEPT_S`, unless it is
put into the queue."""

from __future__ import annotations

import time
import uuid
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db import transaction
from django.utils.translation import gettext as _

from annotation.actions.queue import ItemSpec, QueueError, enqueue
from annotation.actions.worker_jobs import wake_worker
from annotation.logic.limits import MAX_CHAT_MESSAGE_CHARS
from annotation.logic.splits import digest, split_of
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import Item, Project, Prompt, Response, User
from training.errors import RunError
from training.models import ModelVersion

TASK = "training.tasks.answer_question"
KEPT_S = 6 * 3600
LOST_S = 30
"""A question for which no worker has done anything for so long is given up."""


class Question(NamedTuple):
    """What a lead asked. models: the ids of the two. asked_at: in seconds since the epoch. after: the key of the question before.
    texts: the answers, once both are there; error: why they are not."""

    key: str
    project: int
    user: int
    models: tuple[int, int]
    temperature: float
    max_new_tokens: int
    messages: list[dict[str, str]]
    asked_at: float
    after: str = ""
    texts: tuple[str, str] | None = None
    error: str = ""

    @property
    def stream(self) -> str:
        """The name of its stream (`annotation.chat_stream`)."""
        return f"question-{self.key}"

    @property
    def is_over(self) -> bool:
        return self.texts is not None or bool(self.error)


def ask(
    *,
    project: Project,
    user: User,
    models: tuple[ModelVersion, ModelVersion],
    text: str,
    temperature: float,
    max_new_tokens: int,
    after: Question | None = None,
    choice: int = 0,
) -> Question:
    """Ask two models: a new conversation, or the next message after an answered question, whose answer `choice` goes on.

    Raises:
        RunError: the message is empty or too long, or a setting is out of its range.
    """
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise RunError("question", _("Write a message for the models."))
    if len(text) > MAX_CHAT_MESSAGE_CHARS:
        sentence = _("The message has %(n)s characters; at most %(most)s are possible.")
        raise RunError(
            "question",
            sentence % {"n": format_number(len(text)), "most": format_number(MAX_CHAT_MESSAGE_CHARS)},
        )
    if problem := storage_problem(text):
        raise RunError("question", _("The message %(problem)s.") % {"problem": problem})
    if not 0 <= temperature <= 2:
        raise RunError("temperature", _("The temperature is a number from 0 to 2."))
    if not 1 <= max_new_tokens <= 16_384:
        raise RunError("max_new_tokens", _("An answer has 1 to 16,384 tokens."))
    messages = [{"role": "user", "content": text}]
    if after is not None:
        if after.texts is None:
            raise RunError("question", _("Wait until both models have answered."))
        messages = [*after.messages, {"role": "assistant", "content": after.texts[choice]}, *messages]
    question = Question(
        key=uuid.uuid4().hex,
        project=project.pk,
        user=user.pk,
        models=(models[0].pk, models[1].pk),
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        messages=messages,
        asked_at=time.time(),
        after=after.key if after else "",
    )
    keep(question)
    if cache.get(_cache_key(question.key)) is None:
        raise RunError(
            "question", _("The site's cache does not answer, so nothing can be asked. Try again in a minute.")
        )
    wake_worker(TASK, question.key)
    return question


def keep(question: Question) -> None:
    cache.set(_cache_key(question.key), tuple(question), KEPT_S)


def find(key: str) -> Question | None:
    """A question; None if there is none any more."""
    found = cache.get(_cache_key(key))
    question = Question(*found) if found else None
    if question is None or question.is_over or time.time() < question.asked_at + LOST_S:
        return question
    if cache.get(f"{_cache_key(key)}-beat") is None:
        return question._replace(error=_("No worker answers. Ask again."))
    return question


def beat(question: Question) -> None:
    """Say that a worker is at it."""
    cache.set(f"{_cache_key(question.key)}-beat", 1, LOST_S)


def _cache_key(key: str) -> str:
    return f"playground-{key}"


@transaction.atomic
def send_to_queue(*, project: Project, question: Question) -> Item:
    """Put the messages with both answers into the queue, for people to judge. A second time returns the same item.

    Raises:
        RunError: there are no two different answers.
    """
    if question.texts is None:
        raise RunError("question", _("Wait until both models have answered."))
    prompt, is_new = Prompt.objects.get_or_create(
        project=project,
        external_id=f"playground-{question.key}",
        defaults={
            "messages": question.messages,
            "split": split_of(question.messages),
            "tags": ["playground"],
        },
    )
    if not is_new:
        return prompt.items.get()
    versions = ModelVersion.objects.select_related("author").in_bulk(question.models)
    responses: list[Any] = [
        Response.objects.get_or_create(
            prompt=prompt,
            author=versions[model].author,
            digest=digest(text),
            defaults={"text": text, "sampling": {"temperature": question.temperature}},
        )[0].pk
        for model, text in zip(question.models, question.texts, strict=True)
    ]
    try:
        (item,) = enqueue(project=project, specs=[ItemSpec(prompt.pk, responses)])
    except QueueError as error:
        raise RunError("question", str(error)) from None
    return Item.objects.get(pk=item)
