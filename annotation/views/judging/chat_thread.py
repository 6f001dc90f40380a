"""A chat as its page shows it: one branch of its messages, what is open at its end, and what was typed and not sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from annotation.logic import markdown
from annotation.models import Chat, Turn
from annotation.views.judging import screen

NEXT, BETTER, EDIT = "next", "better", "edit-"
"""The forms that send a text: the next message, a better answer, and another version of a message, by the turn's id."""


@dataclass(frozen=True)
class TurnRow:
    """A message that was answered, with the answer that the chat goes on from and the others.

    versions: the ids of the messages in its place, of which this is one. key: of a message that replaces it. edited: what was
    typed to replace it, if anything.
    """

    turn: Turn
    html: str
    answer: str
    others: list[str]
    is_own: bool
    versions: list[int]
    edited: str | None
    key: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def place(self) -> int:
        return self.versions.index(self.turn.pk) + 1

    @property
    def before(self) -> int | None:
        return self.versions[self.place - 2] if self.place > 1 else None

    @property
    def after(self) -> int | None:
        return self.versions[self.place] if self.place < len(self.versions) else None


@dataclass(frozen=True)
class Thread:
    """One branch of a chat.

    current: its message that is answered or judged now. last: the one after which the next is written; None at the beginning,
    or while there is a current one. is_last: nothing follows that. typed: texts that were not sent, by their forms.
    """

    rows: list[TurnRow]
    current: Turn | None
    last: Turn | None
    is_last: bool
    typed: Mapping[str, str]


def thread_of(chat: Chat, at: int | None, typed: Mapping[str, str]) -> Thread:
    """The branch of a chat with the newest message, or with that of an id. Two queries.

    typed: what was just sent and refused, by its form. A message that was taken back is in the form with which it is sent again.
    """
    turns = {
        turn.pk: turn
        for turn in chat.turns.select_related("prompt", "answer__author", "item")
        .prefetch_related("item__responses")
        .order_by("pk")
    }
    children: dict[int | None, list[Turn]] = {}
    for turn in turns.values():
        if turn.state != Turn.State.DROPPED:
            children.setdefault(turn.parent_id, []).append(turn)
    leaf = turns.get(at or 0) or next(reversed(turns.values()), None)
    if leaf is not None and leaf.state == Turn.State.DROPPED:
        versions = children.get(leaf.parent_id)
        form = f"{EDIT}{versions[-1].pk}" if versions else NEXT
        typed = {form: leaf.text} | dict(typed)
        leaf = versions[-1] if versions else turns.get(leaf.parent_id or 0)
    while leaf is not None and (following := children.get(leaf.pk)):
        leaf = following[-1]
    current = leaf if leaf and not leaf.is_over else None
    last = None if current else leaf
    path = _path(turns, turns.get(current.parent_id or 0) if current else last)
    rows = [
        _row(turn, [version.pk for version in children[turn.parent_id]], typed.get(f"{EDIT}{turn.pk}"))
        for turn in path
    ]
    return Thread(rows, current, last, last is not None and last.pk not in children, typed)


def _path(turns: Mapping[int, Turn], leaf: Turn | None) -> Iterable[Turn]:
    """The messages from the first to a leaf."""
    path = []
    while leaf is not None:
        path.append(leaf)
        leaf = turns.get(leaf.parent_id or 0)
    return reversed(path)


def _row(turn: Turn, versions: list[int], edited: str | None) -> TurnRow:
    answer = turn.answer
    shown = list(turn.item.responses.all()) if turn.item else []
    return TurnRow(
        turn=turn,
        html=markdown.render(turn.text),
        answer=screen.masked_html(answer) if answer else "",
        others=[screen.masked_html(other) for other in shown if answer is None or other.pk != answer.pk],
        is_own=answer is not None and answer.author.user_id is not None,
        versions=versions,
        edited=edited,
    )
