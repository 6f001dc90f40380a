"""Live chats for tests: sent, answered as a worker stores it, and judged, by the actions of the product."""

from __future__ import annotations

import uuid

from annotation.actions import chat_answers, chats
from annotation.actions.chat_answers import Answer
from annotation.models import Author, ChatSettings, Judgment, Member, Project, Turn, User

FIRST, SECOND = "policy-a", "policy-b"
"""The authors of the two answers."""


def enable(project: Project, **fields: object) -> ChatSettings:
    return ChatSettings.objects.update_or_create(project=project, defaults={"enabled": True, **fields})[0]


def send(project: Project, person: User, text: str = "How do tides work?", after: Turn | None = None) -> Turn:
    """A message that begins a chat, or goes on after another one."""
    member = Member.objects.select_related("project", "user", "confirmed_guideline").get(
        project=project, user=person
    )
    if after is None:
        return chats.start_chat(member=member, text=text, key=uuid.uuid4())
    return chats.send(chat=after.chat, member=member, text=text, key=uuid.uuid4(), after=after)


def answer(turn: Turn, first: str = "The moon.", second: str = "Whales.") -> Turn:
    """The turn with both answers, of two policies, in this order on the screen."""
    claimed = chat_answers.claim(turn.pk)
    assert claimed is not None
    authors = [
        Author.objects.get_or_create(project=turn.chat.project, kind=Author.Kind.POLICY, name=name)[0]
        for name in (FIRST, SECOND)
    ]
    answers = [
        Answer(author.pk, text, {"temperature": 1.0})
        for author, text in zip(authors, (first, second), strict=True)
    ]
    sides = [{"author": author.pk, "server": "", "temperature": 1.0, "seed": 1} for author in authors]
    assert chat_answers.store(turn=claimed, answers=answers, sides=sides)
    return reloaded(turn)


def judge(turn: Turn, better: int = 0) -> Judgment:
    """The choice of the answer at a place on the screen."""
    lease = chats.lease_of(reloaded(turn))
    assert lease is not None
    ranks = {response: 1 + (place != better) for place, response in enumerate(lease.shown_order)}
    return chats.judge(turn=turn, lease=lease, ranks=ranks, degree="better", idempotency_key=uuid.uuid4())


def improve(turn: Turn, text: str) -> Judgment:
    """A better answer than both, which the annotator wrote."""
    return chats.write_answer(turn=turn, text=text, key=uuid.uuid4())


def judged(
    project: Project, person: User, text: str = "How do tides work?", after: Turn | None = None
) -> Turn:
    """A message whose first answer was chosen; its answers name its number."""
    turn = send(project, person, text, after)
    answer(turn, f"Answer {turn.number} of the first.", f"Answer {turn.number} of the second.")
    judge(turn)
    return reloaded(turn)


def chat_of(project: Project, person: User, *messages: str) -> list[Turn]:
    """A chat of these messages, each judged."""
    turns: list[Turn] = []
    for text in messages:
        turns.append(judged(project, person, text, turns[-1] if turns else None))
    return turns


def reloaded(turn: Turn) -> Turn:
    return Turn.objects.select_related("chat__project", "prompt", "answer", "item").get(pk=turn.pk)
