"""Template context of one item on an annotator's screen.

The task follows from the number of answers: none, write one; one, improve it; two, compare them; more, rank them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from annotation.actions.judgments import JudgmentError, ResponseRatings
from annotation.actions.leases import Lease
from annotation.http.images import show_images
from annotation.logic import judging_keys, markdown
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.masking import mask
from annotation.logic.questions import Question, QuestionKind, flag_labels
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS, label
from annotation.models import Item, Project, Response, Skip, User
from annotation.opaque import opaque_id
from annotation.queries import WorkStatus
from annotation.views.judging import compare, demonstrate, frames
from annotation.views.judging.form_input import NO_RATINGS, FormInput

TITLES = {"write": _("Write"), "improve": _("Improve"), "compare": _("Compare"), "rank": _("Rank")}
QUESTIONS = {
    "write": _("Write the ideal answer"),
    "improve": _("Improve this answer"),
    "compare": _("Which answer is better?"),
}

OF_ONE_ITEM = ("prompt", "me", "lease", "work_status", "qualification", "item_html")
"""What a frame must not show."""


@dataclass(frozen=True)
class Card:
    """One answer on the screen, with the rank and the ratings entered so far. `response` is None in a frame, which stands for
    any answer."""

    letter: str
    response: Response | None
    html: SafeString
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
) -> dict[str, Any]:
    """Context of the item templates. `item` comes from `queries.item_to_judge`, the questions from the lease."""
    of_kind = {kind: [question for question in questions if question.kind == kind] for kind in QuestionKind}
    responses = {response.pk: response for response in item.responses.all()}
    cards = [
        Card(
            letter=letter,
            response=responses[pk],
            html=mark_safe(show_images(masked_html(responses[pk]), project)),  # noqa: S308 - sanitized
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
        "text": demonstrate.initial_text(form_input.text, [responses[pk] for pk in shown]),
        "html": markdown.render(form_input.text) if form_input.text else "",
        "extra_questions": extra_questions,
        "asks_ratings": not {"quality", "safety", "flags"}.isdisjoint(extra_questions)
        or any(question.kind != QuestionKind.TEXT for question in questions),
        "error": error,
        "reasons": Skip.Reason.choices,
        "keys": judging_keys.keys_of(annotator.judging_keys),
        "key": uuid.uuid4(),
    }


def item_html(request: HttpRequest, user: User, context: Mapping[str, Any]) -> SafeString:
    """HTML of the item in a context of `context`, to which its page has added the lease, its ticket, the member `me` and their
    `work_status` and `qualification`. Where nothing is entered yet, most of it is a frame that all such items share."""
    cards: list[Card] = context["cards"]
    lease: Lease = context["lease"]
    status: WorkStatus = context["work_status"]
    filled = {
        **{name: context[name] for name in ("item_id", "order_id", "ticket", "key")},
        "pseudonym": user.pseudonym,
        "unread": user.unread_notifications,
        "left": status.rough_left,
        "today": status.today,
        "banners": _part("judge_banners", context, "me", "qualification") if _has_banners(context) else "",
        "conversation": _part("judge_conversation", context, "prompt", "project"),
        **{f"answer_{card.letter}": card.html for card in cards},
    }
    project, frame_user = frames.FrameProject.of(context["project"]), frames.FrameUser.of(user)
    values = {
        **context,
        "project": project,
        "user": frame_user,
        "guideline_number": status.guideline_number,
        "cards": [replace(card, html=frames.stand_in(f"answer_{card.letter}")) for card in cards],
    }
    if len(cards) < 2 or context["error"] or context["form_input"] != FormInput():
        return frames.render(request, values, filled, None)
    for name in OF_ONE_ITEM:
        del values[name]
    values["cards"] = [replace(card, response=None) for card in values["cards"]]
    key = (
        *(project, frame_user, status.guideline_number, len(cards), lease.question_set_id),
        *(frozenset(lease.extra_questions), tuple(context["keys"].values())),
    )
    return frames.render(request, values, filled, key)


def _has_banners(context: Mapping[str, Any]) -> bool:
    return bool(context["me"].warning or context["qualification"])


def _part(name: str, context: Mapping[str, Any], *names: str) -> str:
    return render_to_string(f"annotation/{name}.html", {name: context[name] for name in names})


def masked_html(response: Response) -> str:
    """The answer's HTML, with mentions of the model that wrote it masked."""
    return markdown.render(mask(response.text))
