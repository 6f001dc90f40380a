"""One item as annotators see it: what is asked, the conversation, the answers, and what was said of them so far.

What is asked follows from how many answers there are: none, write one; a single one, make it better; two, compare them;
more, rank them.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from annotation.actions.judgments import JudgmentError, ResponseRatings
from annotation.logic import markdown
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS
from annotation.models import Item, Project, Response, Skip
from annotation.views.judging import compare, demonstrate
from annotation.views.judging.form_input import NO_RATINGS, Entry

TITLES = {"write": "Write", "improve": "Improve", "compare": "Compare", "rank": "Rank"}
QUESTIONS = {
    "write": "Write the ideal answer",
    "improve": "Make this answer better",
    "compare": "Which answer is better?",
}
# what the keys D, F and G do stands under Shift where an answer has that letter
ACTIONS = {"diff": "D", "flags": "F", "guidelines": "G"}


@dataclass(frozen=True)
class Card:
    """One answer on the screen; `rank` and `marks` are what was entered for it so far."""

    letter: str
    response: Response
    html: str
    rank: int | None
    marks: ResponseRatings


def kind_of(answers: int) -> str:
    return {0: "write", 1: "improve", 2: "compare"}.get(answers, "rank")


def context(
    *,
    project: Project,
    item: Item,
    shown: Sequence[int],
    extra_questions: Collection[str],
    entry: Entry,
    error: JudgmentError | None = None,
) -> dict[str, object]:
    """What the templates of an item need. `item` comes from `queries.item_to_judge`; `extra_questions` is as in `Project`."""
    responses = {response.pk: response for response in item.responses.all()}
    cards = [
        Card(
            letter=letter,
            response=responses[pk],
            html=blind(responses[pk]),
            rank=entry.ranks.get(pk),
            marks=entry.marks.get(pk, NO_RATINGS),
        )
        for letter, pk in zip(LETTERS, shown, strict=False)
    ]
    kind = kind_of(len(cards))
    return {
        "project": project,
        "item": item,
        "prompt": item.prompt,
        "kind": kind,
        "title": TITLES[kind],
        "question": QUESTIONS.get(kind, f"Rank the {len(cards)} answers"),
        "cards": cards,
        "ranks": range(1, len(cards) + 1),
        "qualities": range(1, QUALITY_MAX + 1),
        "flags": FLAGS.items(),
        "choices": compare.CHOICES,
        "chosen": compare.chosen(entry.ranks, entry.degree, shown),
        "entry": entry,
        "text": demonstrate.start(entry.text, [card.response for card in cards]),
        "html": markdown.render(entry.text) if entry.text else "",
        "extra_questions": extra_questions,
        "asks_ratings": not {"quality", "safety", "flags"}.isdisjoint(extra_questions),
        "error": error,
        "reasons": Skip.Reason.choices,
        "keys": {name: f"⇧{key}" if key in LETTERS[: len(cards)] else key for name, key in ACTIONS.items()},
        "key": uuid.uuid4(),
    }


def blind(response: Response) -> str:
    """The answer's HTML, without what it says of the model that wrote it."""
    masked = mask(response.text)
    return response.html if masked == response.text else markdown.render(masked)
