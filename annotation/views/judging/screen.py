"""Template context of one item on an annotator's screen.

The task follows from the number of answers: none, write one; one, improve it; two, compare them; more, rank them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from annotation.actions.judgments import JudgmentError, ResponseRatings
from annotation.logic import judging_keys, markdown
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.masking import mask
from annotation.logic.questions import Question, QuestionKind, flag_labels
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS, label
from annotation.models import Item, Project, Response, Skip, User
from annotation.opaque import opaque_id
from annotation.views.judging import compare, demonstrate
from annotation.views.judging.form_input import NO_RATINGS, FormInput

TITLES = {"write": _("Write"), "improve": _("Improve"), "compare": _("Compare"), "rank": _("Rank")}
QUESTIONS = {
    "write": _("Write the ideal answer"),
    "improve": _("Improve this answer"),
    "compare": _("Which answer is better?"),
}


@dataclass(frozen=True)
class Card:
    """One answer on the screen, with the rank and the ratings entered so far."""

    letter: str
    response: Response
    html: str
    rank: int | None
    ratings: ResponseRatings
    criteria: list[tuple[Question, int | None]]

    @property
    def comments(self) -> str:
        """As JSON, for the form."""
        return json.dumps([asdict(comment) for comment in self.ratings.comments])


def kind_of(answers: int) -> str:
    return {0: "write", 1: "improve", 2: "compare"}.get(answers, "rank")


def context(
    *,
    project: Project,
    item: Item,
    annotator: User,
    shown: Sequence[int],
    extra_questions: Collection[str],
    questions: Sequence[Question],
    form_input: FormInput,
    error: JudgmentError | None = None,
) -> dict[str, object]:
    """Context of the item templates. `item` comes from `queries.item_to_judge`, the questions from the lease."""
    of_kind = {kind: [question for question in questions if question.kind == kind] for kind in QuestionKind}
    responses = {response.pk: response for response in item.responses.all()}
    cards = [
        Card(
            letter=letter,
            response=responses[pk],
            html=masked_html(responses[pk]),
            rank=form_input.ranks.get(pk),
            ratings=form_input.ratings.get(pk, NO_RATINGS),
            criteria=[
                (question, form_input.ratings.get(pk, NO_RATINGS).criteria.get(question.key))
                for question in of_kind[QuestionKind.RATING]
            ],
        )
        for letter, pk in zip(LETTERS, shown, strict=False)
    ]
    kind = kind_of(len(cards))
    built_in_flags = {flag: label(flag) for flag in FLAGS} if "flags" in extra_questions else {}
    ranking = ngettext("Rank the %(n)s answer", "Rank the %(n)s answers", len(cards)) % {"n": len(cards)}
    return {
        "project": project,
        "item_id": opaque_id("item", item.pk, annotator.pk),
        "order_id": opaque_id("response", ",".join(map(str, shown)), annotator.pk),
        "prompt": item.prompt,
        "kind": kind,
        "title": TITLES[kind],
        "question": QUESTIONS.get(kind, ranking),
        "cards": cards,
        "ranks": range(1, len(cards) + 1),
        "qualities": range(1, QUALITY_MAX + 1),
        "flags": (flag_labels(questions) | built_in_flags).items(),
        "asks_comments": bool(of_kind[QuestionKind.COMMENTS]),
        "texts": [
            (question, form_input.answers.get(question.key, "")) for question in of_kind[QuestionKind.TEXT]
        ],
        "choices": compare.CHOICES,
        "chosen": compare.chosen(form_input.ranks, form_input.degree, shown),
        "form_input": form_input,
        "text": demonstrate.initial_text(form_input.text, [card.response for card in cards]),
        "html": markdown.render(form_input.text) if form_input.text else "",
        "extra_questions": extra_questions,
        "asks_ratings": not {"quality", "safety", "flags"}.isdisjoint(extra_questions)
        or any(question.kind != QuestionKind.TEXT for question in questions),
        "error": error,
        "reasons": Skip.Reason.choices,
        "keys": judging_keys.keys_of(annotator.judging_keys),
        "key": uuid.uuid4(),
    }


def masked_html(response: Response) -> str:
    """The answer's HTML, with mentions of the model that wrote it masked."""
    return markdown.render(mask(response.text))
