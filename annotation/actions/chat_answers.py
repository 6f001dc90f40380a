"""The answers to a chat's messages: claimed by one worker at a time, which stores both of them at once, or says why it cannot.

The row of a turn is the queue: a Celery message only wakes a worker, and a sweep replaces lost messages.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.actions.chats import TASK, State, locked
from annotation.actions.items import lease_slot
from annotation.actions.worker_jobs import wake_worker
from annotation.logic.splits import digest
from annotation.logic.storable_text import storable
from annotation.models import Candidate, Item, Response, Turn

MAX_ATTEMPTS = 3
"""A turn has failed once so many workers died over it."""


class Answer(NamedTuple):
    """What one side answered. sampling: temperature, seed and token ids, where they are known."""

    author_id: int
    text: str
    sampling: dict[str, Any]


def claim(pk: int) -> Turn | None:
    """Claim a turn that waits, or whose worker's heartbeat is too old; None if there is nothing to do."""
    claimed = Turn.objects.filter(Q(state=State.WAITING) | _is_stale(), pk=pk).update(
        state=State.ANSWERING, claim=uuid.uuid4(), heartbeat_at=timezone.now(), attempts=F("attempts") + 1
    )
    if not claimed:
        return None
    turn = Turn.objects.select_related("chat__project", "prompt").get(pk=pk)
    if turn.attempts > MAX_ATTEMPTS:
        fail(turn=turn, reason=_("The worker ended each time that it answered this message."))
        return None
    return turn


def beat(turn: Turn) -> bool:
    """Say that the worker is alive. False if the turn was dropped, or another worker has it."""
    return bool(_claimed(turn).update(heartbeat_at=timezone.now()))


def give_back(turn: Turn) -> None:
    """Let another worker answer the turn, since this one stops."""
    if _claimed(turn).update(state=State.WAITING, claim=None, attempts=F("attempts") - 1):
        wake_worker(TASK, turn.pk)


def fail(*, turn: Turn, reason: str) -> bool:
    """Say why there are no answers. The message is kept, and can be tried again. False if another worker has the turn."""
    changed = _claimed(turn).update(state=State.FAILED, claim=None, error=storable(reason)[:500])
    return bool(changed)


@transaction.atomic
def store(*, turn: Turn, answers: Sequence[Answer], sides: Sequence[dict[str, Any]]) -> bool:
    """Store both answers, in the order in which they were shown, and an item of them that only the chat's annotator gets. Equal
    answers leave nothing
    to choose: the conversation goes on from them. False if the turn was dropped meanwhile; then
    nothing is stored.

    sides: what answered, with the seeds.
    """
    row = locked(turn)
    if row.state != State.ANSWERING or row.claim != turn.claim:
        return False
    responses = [
        Response.objects.get_or_create(
            prompt=row.prompt,
            author_id=answer.author_id,
            digest=digest(answer.text),
            defaults={"text": answer.text, "sampling": answer.sampling},
        )[0]
        for answer in answers
    ]
    first, second = responses
    row.sides, row.claim = list(sides), None
    if first.digest == second.digest:
        row.state, row.answer = State.SAME, first
    else:
        row.state, row.item = State.JUDGING, _add_item(row, responses)
    row.save(update_fields=["state", "answer", "item", "sides", "claim"])
    return True


def _add_item(turn: Turn, responses: list[Response]) -> Item:
    item = Item.objects.create(project=turn.chat.project, prompt=turn.prompt)
    Candidate.objects.bulk_create(Candidate(item=item, response=response) for response in responses)
    lease_slot(item, turn.chat.annotator, [response.pk for response in responses])
    return item


def wake_lost() -> None:
    """Wake workers for turns whose message was lost or whose worker died. A sweep calls it."""
    lost = Q(state=State.WAITING, created_at__lt=timezone.now() - timedelta(seconds=3))
    for pk in Turn.objects.filter(lost | _is_stale()).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-turn-{pk}", 1, timeout=10):
            wake_worker(TASK, pk)


def _claimed(turn: Turn) -> QuerySet[Turn]:
    return Turn.objects.filter(pk=turn.pk, state=State.ANSWERING, claim=turn.claim)


def _is_stale() -> Q:
    stale = timezone.now() - timedelta(seconds=settings.RUN_STALE_S)
    return Q(state=State.ANSWERING, heartbeat_at__lt=stale)
