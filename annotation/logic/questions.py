"""A project's own questions beside the ranks: ratings by criterion, flags, free texts, and comments on passages.

The questions of a project are a numbered version, so that each judgment says which of them it answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from itertools import count
from typing import Any

from annotation.logic.response_flags import FLAGS
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number, gettext_noop
from annotation.logic.translation import gettext as _

MAX_QUESTIONS = 20
MAX_LABEL_CHARS, MAX_HELP_CHARS, MAX_END_CHARS = 80, 300, 40
MIN_SCALE, MAX_SCALE = 2, 10
MAX_MIN_CHARS, MAX_ANSWER_CHARS = 2_000, 10_000
MAX_COMMENTS, MAX_COMMENT_CHARS, MAX_QUOTE_CHARS = 50, 2_000, 2_000
"""Of one answer."""
MAX_OCCURRENCE = 1_000
"""Of words that stand more often in a text, the place is not looked for."""
KEY = re.compile("[a-z][a-z0-9_]{0,39}")
RESERVED = {*FLAGS, "quality", "safe", "safety", "rank"}
"""Names of what can be entered without a question of the project's own."""


class QuestionKind(StrEnum):
    RATING = "rating"
    FLAG = "flag"
    TEXT = "text"
    COMMENTS = "comments"


KIND_LABELS = {
    QuestionKind.RATING: gettext_noop("Rating of each answer"),
    QuestionKind.FLAG: gettext_noop("Flag of each answer"),
    QuestionKind.TEXT: gettext_noop("Free text, once for the item"),
    QuestionKind.COMMENTS: gettext_noop("Comments on passages of each answer"),
}

END = gettext_noop("%(number)s is %(meaning)s")
"""Of a scale."""


class QuestionError(Exception):
    """Why questions, or answers to them, are refused, in a sentence.

    Attributes:
        number: of the question, counted from 0; None if it is about all of them.
        field: of the question.
    """

    def __init__(self, message: str, *, number: int | None = None, field: str = "") -> None:
        super().__init__(message)
        self.number, self.field = number, field


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        key: its name in exports; the same in all versions.
        required: every answer needs a rating; the text must be written. Flags and comments are never required.
        scale: ratings are whole numbers from 1 to this.
        low, high: what 1 and the highest rating mean.
        min_chars: of a free text, if one is written.
    """

    key: str
    kind: QuestionKind
    label: str
    help: str = ""
    required: bool = True
    scale: int = 5
    low: str = ""
    high: str = ""
    min_chars: int = 0

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def values(self) -> range:
        return range(1, self.scale + 1)

    @property
    def ends(self) -> str:
        """ "1 is false, 5 is true", for exports; empty where the ends have no names."""
        return self._ends(END)

    @property
    def shown_ends(self) -> str:
        """The same in the reader's language."""
        return self._ends(_(END))

    def _ends(self, text: str) -> str:
        ends = ((1, self.low), (self.scale, self.high))
        return ", ".join(text % {"number": number, "meaning": meaning} for number, meaning in ends if meaning)


PRESETS = (
    Question("helpfulness", QuestionKind.RATING, "Helpfulness", low="of no help", high="all that was needed"),
    Question("truthfulness", QuestionKind.RATING, "Truthfulness", low="false", high="all true"),
    Question("harmlessness", QuestionKind.RATING, "Harmlessness", low="harmful", high="harmless"),
)


@dataclass(frozen=True)
class Comment:
    """A comment on a passage of an answer, or on all of it where there is no quote.

    Attributes:
        quote: the passage as it was shown.
        occurrence: which of the places with these words, counted from 0.
        occurrences: how many such places the text has as it was shown; 0 where that is not known.
    """

    text: str
    quote: str = ""
    occurrence: int = 0
    occurrences: int = 0

    def as_data(self, source: str) -> dict[str, Any]:
        """As it is stored: with the place in the answer's text, in characters, or null where that is not certain: the quote is
        not in it word for word, as where Markdown stands between its words, or not as often as it was shown."""
        start = self._start(source)
        data = {"text": self.text, "quote": self.quote, "occurrence": self.occurrence}
        return data | {"start": start, "end": None if start is None else start + len(self.quote)}

    def _start(self, source: str) -> int | None:
        if not self.quote or self.occurrence > MAX_OCCURRENCE:
            return None
        if self.occurrences and source.count(self.quote) != self.occurrences:
            return None
        start = source.find(self.quote)
        for _occurrence in range(self.occurrence):
            if start >= 0:
                start = source.find(self.quote, start + len(self.quote))
        return start if start >= 0 else None


# --- the questions of a project -------------------------------------------------------------------------------


def read_questions(data: object, earlier: Iterable[Question] = ()) -> list[Question]:
    """Questions from JSON, a list of objects with the fields of `Question`; a missing key is made from the label.

    earlier: all questions that the project ever asked. A key keeps its meaning: who changes the kind or the scale of a
        question gives it a new one.

    Raises:
        QuestionError
    """
    if not isinstance(data, list):
        raise QuestionError(_("The questions are not a list."))
    if len(data) > MAX_QUESTIONS:
        raise QuestionError(
            _("A project may ask at most %(limit)s questions of its own.") % {"limit": MAX_QUESTIONS}
        )
    questions: list[Question] = []
    before = {question.key: question for question in earlier}
    for number, entry in enumerate(data):
        if not isinstance(entry, Mapping):
            raise QuestionError(_("This is not an object."), number=number)
        taken = {question.key for question in questions}
        question = _read_question(entry, number, taken)
        if question.key in before and not _is_same(question, before[question.key]):
            question = replace(question, key=_free_key(question.key, {*taken, *before}))
        questions.append(question)
    if sum(question.kind == QuestionKind.COMMENTS for question in questions) > 1:
        raise QuestionError(_("Comments on passages can be asked for once."))
    return questions


def stored_questions(data: Iterable[Mapping[str, Any]]) -> tuple[Question, ...]:
    """The questions of a stored version, which were checked when they were stored."""
    return tuple(Question(**{**entry, "kind": QuestionKind(entry["kind"])}) for entry in data)


def _read_question(data: Mapping[str, Any], number: int, taken: Collection[str]) -> Question:
    def refuse(field: str, message: str) -> QuestionError:
        return QuestionError(message, number=number, field=field)

    def text(field: str, limit: int) -> str:
        value = data.get(field) or ""
        if not isinstance(value, str) or len(value) > limit:
            raise refuse(field, _("This is a text of at most %(limit)s characters.") % {"limit": limit})
        if problem := storage_problem(value):
            raise refuse(field, _("This text %(problem)s.") % {"problem": problem})
        return value.strip()

    def whole(field: str, low: int, high: int, default: int) -> int:
        value = default if data.get(field) is None else data[field]
        if type(value) is not int or not low <= value <= high:
            span = {"low": low, "high": format_number(high)}
            raise refuse(field, _("This is a whole number from %(low)s to %(high)s.") % span)
        return value

    if unknown := set(data) - {field.name for field in fields(Question)}:
        raise refuse(min(unknown), _("There is no field %(field)r.") % {"field": min(unknown)})
    if data.get("kind") not in list(QuestionKind):
        raise refuse("kind", _("The kind is one of %(kinds)s.") % {"kinds": ", ".join(QuestionKind)})
    label = text("label", MAX_LABEL_CHARS)
    if not label:
        raise refuse("label", _("Each question needs a label."))
    key = text("key", 40) or _free_key(label, taken)
    if not KEY.fullmatch(key):
        raise refuse(
            "key", _("A key is made of small letters, digits and underscores, and begins with a letter.")
        )
    if key in taken or key in RESERVED:
        raise refuse("key", _("The key %(key)r is taken: give each question its own.") % {"key": key})
    required = True if data.get("required") is None else data["required"]
    if not isinstance(required, bool):
        raise refuse("required", _("This is true or false."))
    return Question(
        key=key,
        kind=QuestionKind(data["kind"]),
        label=label,
        help=text("help", MAX_HELP_CHARS),
        required=required and data["kind"] in (QuestionKind.RATING, QuestionKind.TEXT),
        scale=whole("scale", MIN_SCALE, MAX_SCALE, 5),
        low=text("low", MAX_END_CHARS),
        high=text("high", MAX_END_CHARS),
        min_chars=whole("min_chars", 0, MAX_MIN_CHARS, 0),
    )


def _is_same(question: Question, earlier: Question) -> bool:
    is_rating = question.kind == QuestionKind.RATING
    return question.kind == earlier.kind and (not is_rating or question.scale == earlier.scale)


def _free_key(label: str, taken: Collection[str]) -> str:
    base = re.sub("[^a-z0-9]+", "_", label.lower()).strip("_")[:36]
    base = base if KEY.fullmatch(base) else "question"
    numbered = (f"{base}_{n}" for n in count(2))
    used = {*taken, *RESERVED}
    return base if base not in used else next(key for key in numbered if key not in used)


# --- answers to them ------------------------------------------------------------------------------------------


def flag_labels(questions: Sequence[Question]) -> dict[str, str]:
    """The labels of the project's own flags, by key."""
    return {question.key: question.label for question in questions if question.kind == QuestionKind.FLAG}


def check_criteria(
    questions: Sequence[Question],
    criteria: Mapping[int, Mapping[str, int]],
    letters: Callable[[Callable[[int], bool]], str],
) -> None:
    """Refuse ratings that are missing or that nobody asked for.

    Args:
        criteria: ratings by key, of each response.
        letters: names the responses for which a condition holds.

    Raises:
        QuestionError
    """
    asked = {question.key: question for question in questions if question.kind == QuestionKind.RATING}
    if unknown := {key for ratings in criteria.values() for key in ratings} - set(asked):
        raise QuestionError(_("This project does not ask for a rating %(key)r.") % {"key": min(unknown)})
    for key, question in asked.items():
        values = {"label": question.label, "highest": question.scale}
        missing = letters(lambda response, key=key: key not in criteria[response])  # type: ignore[misc]
        if missing and question.required:
            text = _("%(label)s: every answer needs a rating from 1 to %(highest)s; missing: %(missing)s.")
            raise QuestionError(text % {**values, "missing": missing})
        if any(ratings.get(key, 1) not in question.values for ratings in criteria.values()):
            raise QuestionError(_("%(label)s: give a rating from 1 to %(highest)s.") % values)


def check_answers(questions: Sequence[Question], answers: Mapping[str, str]) -> None:
    """Refuse free texts that are missing, too short or too long, or that nobody asked for.

    Raises:
        QuestionError
    """
    asked = {question.key: question for question in questions if question.kind == QuestionKind.TEXT}
    if unknown := set(answers) - set(asked):
        raise QuestionError(_("This project does not ask the question %(key)r.") % {"key": min(unknown)})
    for key, question in asked.items():
        answer, label = answers.get(key, "").strip(), question.label
        if problem := storage_problem(answer):
            raise QuestionError(_("%(label)s: the text %(problem)s.") % {"label": label, "problem": problem})
        if len(answer) > MAX_ANSWER_CHARS:
            values = {"label": label, "limit": format_number(MAX_ANSWER_CHARS)}
            raise QuestionError(_("%(label)s: at most %(limit)s characters.") % values)
        if not answer and question.required:
            raise QuestionError(_("%(label)s: write a few words.") % {"label": label})
        if answer and len(answer) < question.min_chars:
            text = _("%(label)s: at least %(least)s characters, please; there are %(length)s.")
            least, length = format_number(question.min_chars), format_number(len(answer))
            raise QuestionError(text % {"label": label, "least": least, "length": length})


def check_comments(questions: Sequence[Question], comments: Sequence[Comment]) -> None:
    """Refuse comments on one answer that are empty, too long or too many, or that nobody asked for.

    Raises:
        QuestionError
    """
    if comments and not any(question.kind == QuestionKind.COMMENTS for question in questions):
        raise QuestionError(_("This project does not ask for comments on passages."))
    if len(comments) > MAX_COMMENTS:
        raise QuestionError(_("An answer may have at most %(limit)s comments.") % {"limit": MAX_COMMENTS})
    for comment in comments:
        if not comment.text.strip():
            raise QuestionError(_("A comment is empty: write it, or remove it."))
        if len(comment.text) > MAX_COMMENT_CHARS or len(comment.quote) > MAX_QUOTE_CHARS:
            text = _("A comment may have at most %(limit)s characters, and so may the passage.")
            raise QuestionError(text % {"limit": format_number(MAX_COMMENT_CHARS)})
        if problem := storage_problem(comment.text) or storage_problem(comment.quote):
            raise QuestionError(_("A comment %(problem)s.") % {"problem": problem})
