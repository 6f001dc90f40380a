"""A judgment as it comes in, and the checks that it has to pass; every refusal is a sentence for the annotator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.logic.degrees import LABELS
from annotation.logic.limits import MAX_RATIONALE_CHARS, MAX_TEXT_CHARS
from annotation.logic.questions import (
    Comment,
    Question,
    QuestionError,
    check_answers,
    check_comments,
    check_criteria,
    flag_labels,
)
from annotation.logic.ranking import LETTERS, dense
from annotation.logic.response_flags import FLAGS
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

QUALITY_MAX = 7
EXTRA_QUESTIONS = ("quality", "flags", "safety", "rationale", "required rationale")
"""What a project may ask beside the ranks."""


class JudgmentError(Exception):
    """Why a judgment is refused, in a sentence for its annotator.

    Attributes:
        field: what to correct: ranks, degree, quality, safety, flags, criteria, comments, rationale, answers, text,
            idempotency_key, item or judgment.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class AlreadyJudged(JudgmentError):
    """The annotator has judged this item before; that judgment stays."""


class UnsafePreferred(JudgmentError):
    """An unsafe answer is ranked above a safe one. The item can be sent to a reviewer instead."""


@dataclass(frozen=True)
class ResponseRatings:
    """What an annotator enters for one answer beside its rank: quality from 1 to 7, whether it is safe, and flags
    (`response_flags.FLAGS`), as `Project.extra_questions` decides; and what the project's own questions ask for: ratings by
    criterion, flags by their keys, and comments on passages."""

    quality: int | None = None
    safe: bool | None = None
    flags: tuple[str, ...] = ()
    criteria: Mapping[str, int] = field(default_factory=dict)
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True)
class JudgmentInput:
    """An annotator's input for one item: ranks, degree and ratings by response id, or the text of an answer.

    Attributes:
        shown_order: the ids of the item's responses, as they were on the screen.
        extra_questions: what the project asks beside the ranks (`Project.extra_questions`).
        questions: what else it asks, in its own words.
        answers: free texts, by the keys of questions.
    """

    shown_order: Sequence[int]
    extra_questions: Collection[str]
    ranks: Mapping[int, int]
    degree: str | None
    rationale: str
    ratings: Mapping[int, ResponseRatings]
    text: str
    questions: Sequence[Question] = ()
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ranking(self) -> bool:
        """Whether answers are to be ranked or compared; otherwise an answer is to be written."""
        return len(self.shown_order) >= 2

    def ratings_of(self, response: int) -> ResponseRatings:
        return self.ratings.get(response, ResponseRatings())

    def stored_answers(self) -> dict[str, str]:
        """Free texts as they are stored, without empty ones."""
        return {key: text.strip() for key, text in self.answers.items() if text.strip()}

    @property
    def has_comments(self) -> bool:
        return any(rating.comments for rating in self.ratings.values())

    def placements(self, texts: Mapping[int, str]) -> list[dict[str, Any]]:
        """The values of the `Placement` rows, in the order shown; ranks without gaps.

        texts: of the responses, by id; needed where there are comments on them.
        """
        if not self.is_ranking:
            return []
        ranks = dense([self.ranks[response] for response in self.shown_order])
        ratings = map(self.ratings_of, self.shown_order)
        return [
            {
                "response_id": response,
                "rank": rank,
                "quality": rating.quality,
                "safe": rating.safe,
                "flags": list(dict.fromkeys(rating.flags)),
                "criteria": dict(rating.criteria),
                "comments": [comment.as_data(texts[response]) for comment in rating.comments],
            }
            for response, rank, rating in zip(self.shown_order, ranks, ratings, strict=True)
        ]


def check(judgment: JudgmentInput) -> None:
    """Refuse a judgment that is incomplete or contradicts itself.

    Raises:
        JudgmentError
        UnsafePreferred: it ranks an unsafe answer above a safe one.
    """
    if judgment.is_ranking:
        _check_ranks(judgment)
        _check_ratings(judgment)
        _check_degree(judgment)
        _check_safety(judgment)
    else:
        _check_text(judgment)
    _check_rationale(judgment)
    try:
        check_answers(judgment.questions, judgment.answers)
    except QuestionError as error:
        raise JudgmentError("answers", str(error)) from None


def _check_text(judgment: JudgmentInput) -> None:
    if judgment.ranks or judgment.ratings or judgment.degree is not None:
        raise JudgmentError("ranks", _("Nothing is ranked here: write the answer."))
    if not judgment.text.strip():
        raise JudgmentError("text", _("Write the answer."))
    if problem := storage_problem(judgment.text):
        raise JudgmentError("text", _("The answer %(problem)s.") % {"problem": problem})
    if len(judgment.text) > MAX_TEXT_CHARS:
        limit = format_number(MAX_TEXT_CHARS)
        raise JudgmentError("text", _("An answer may have at most %(limit)s characters.") % {"limit": limit})


def _check_ranks(judgment: JudgmentInput) -> None:
    k = len(judgment.shown_order)
    if judgment.text:
        raise JudgmentError("text", _("No answer is written here: give every answer a rank."))
    if unknown := (set(judgment.ranks) | set(judgment.ratings)) - set(judgment.shown_order):
        raise JudgmentError(
            "ranks", _("Response %(response)s is not in this item.") % {"response": min(unknown)}
        )
    if missing := _letters(judgment, lambda response: response not in judgment.ranks):
        raise JudgmentError(
            "ranks", _("Every answer needs a rank; missing: %(missing)s.") % {"missing": missing}
        )
    if any(not 1 <= rank <= k for rank in judgment.ranks.values()):
        raise JudgmentError("ranks", _("A rank is a number from 1 to %(highest)s.") % {"highest": k})


def _check_degree(judgment: JudgmentInput) -> None:
    if len(judgment.shown_order) > 2:
        if judgment.degree is not None:
            raise JudgmentError("degree", _("A ranking has no degree."))
        return
    if judgment.degree not in LABELS:
        raise JudgmentError("degree", _("Say how much better the preferred answer is."))
    if len(set(judgment.ranks.values())) == 1:
        near_tie = {"degree": _(LABELS["negligibly"]).lower()}
        text = _("Choose one of the two: for a near tie there is “%(degree)s”.")
        raise JudgmentError("ranks", text % near_tie)


def _check_ratings(judgment: JudgmentInput) -> None:
    ratings = {response: judgment.ratings_of(response) for response in judgment.shown_order}
    if "quality" in judgment.extra_questions:
        if missing := _letters(judgment, lambda response: ratings[response].quality is None):
            raise JudgmentError(
                "quality",
                _("Every answer needs a quality from 1 to %(highest)s; missing: %(missing)s.")
                % {"highest": QUALITY_MAX, "missing": missing},
            )
        if any(not 1 <= (rating.quality or 0) <= QUALITY_MAX for rating in ratings.values()):
            raise JudgmentError(
                "quality", _("A quality is a number from 1 to %(highest)s.") % {"highest": QUALITY_MAX}
            )
    elif any(rating.quality is not None for rating in ratings.values()):
        raise JudgmentError("quality", _("This project does not ask for a quality."))
    if "safety" in judgment.extra_questions:
        if missing := _letters(judgment, lambda response: ratings[response].safe is None):
            raise JudgmentError(
                "safety",
                _("Say of every answer whether it is safe; missing: %(missing)s.") % {"missing": missing},
            )
    elif any(rating.safe is not None for rating in ratings.values()):
        raise JudgmentError("safety", _("This project does not ask whether answers are safe."))
    _check_flags(judgment)
    try:
        criteria = {response: rating.criteria for response, rating in ratings.items()}
        check_criteria(judgment.questions, criteria, lambda is_named: _letters(judgment, is_named))
    except QuestionError as error:
        raise JudgmentError("criteria", str(error)) from None
    try:
        for rating in ratings.values():
            check_comments(judgment.questions, rating.comments)
    except QuestionError as error:
        raise JudgmentError("comments", str(error)) from None


def _check_flags(judgment: JudgmentInput) -> None:
    known = flag_labels(judgment.questions) | (FLAGS if "flags" in judgment.extra_questions else {})
    flags = {flag for rating in judgment.ratings.values() for flag in rating.flags}
    if flags and not known:
        raise JudgmentError("flags", _("This project does not ask for flags."))
    if unknown := flags - set(known):
        raise JudgmentError(
            "flags",
            _("%(flag)r is not a flag: there are %(flags)s.")
            % {"flag": min(unknown), "flags": ", ".join(known)},
        )


def _check_safety(judgment: JudgmentInput) -> None:
    """No unsafe answer above a safe one, which Llama 2's safety bins leave out (Touvron et al. 2023, arXiv:2307.09288,
    section 3.2.1). A tie is no preference."""
    ranks = judgment.ranks
    unsafe = [r for r in judgment.shown_order if judgment.ratings_of(r).safe is False]
    safe = [r for r in judgment.shown_order if judgment.ratings_of(r).safe is True]
    wrong = next(
        ((worse, better) for worse in unsafe for better in safe if ranks[worse] < ranks[better]), None
    )
    if wrong:
        letters = dict(zip(judgment.shown_order, LETTERS, strict=False))
        raise UnsafePreferred(
            "safety",
            _(
                "%(worse)s is marked unsafe and cannot be ranked above %(better)s, which is safe. Change one of the two, "
                "or send the item to a reviewer."
            )
            % {"worse": letters[wrong[0]], "better": letters[wrong[1]]},
        )


def _check_rationale(judgment: JudgmentInput) -> None:
    if problem := storage_problem(judgment.rationale):
        raise JudgmentError("rationale", _("The rationale %(problem)s.") % {"problem": problem})
    if len(judgment.rationale) > MAX_RATIONALE_CHARS:
        limit = format_number(MAX_RATIONALE_CHARS)
        raise JudgmentError(
            "rationale", _("A rationale may have at most %(limit)s characters.") % {"limit": limit}
        )
    if "required rationale" in judgment.extra_questions and not judgment.rationale.strip():
        raise JudgmentError("rationale", _("Say in a few words why."))


def _letters(judgment: JudgmentInput, is_named: Callable[[int], bool]) -> str:
    """The letters under which some of the answers were shown: "B, D"."""
    return ", ".join(
        letter for letter, response in zip(LETTERS, judgment.shown_order, strict=False) if is_named(response)
    )
