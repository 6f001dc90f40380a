"""The principles of a constitution, by which judges compare answers and models revise them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

MAX_PRINCIPLES = 50
MAX_TAG_CHARS, MAX_INSTRUCTION_CHARS = 60, 2_000
MAX_START_CHARS, MAX_WORD_CHARS = 200, 40
KEY = re.compile("[a-z0-9-]{1,40}")


class PrincipleError(Exception):
    """Why principles are refused, in a sentence.

    Attributes:
        number: of the principle, counted from 0; None if it is about all of them.
        key: of the principle, if it has one that can be read.
        field: of the principle; `comment.good` for a field of its comment.
    """

    def __init__(self, message: str, *, number: int | None = None, key: str = "", field: str = "") -> None:
        super().__init__(message)
        self.number, self.key, self.field = number, key, field

    @property
    def located(self) -> str:
        """The sentence with its place before it, for the API: "Principle 2 (kind), critique: …"."""
        if self.number is None:
            return str(self)
        key = f" ({self.key})" if self.key else ""
        field = f", {self.field}" if self.field else ""
        return f"Principle {self.number + 1}{key}{field}: {self}"


@dataclass(frozen=True)
class CommentWords:
    """Words with which a comment on an answer goes on after `start`, for judges too small to follow an instruction: the more
    probable `good` is and the less `bad`, the better the answer. `also` is a second good quality; empty: none."""

    start: str
    good: str
    bad: str
    also: str = ""


@dataclass(frozen=True)
class Principle:
    """One principle.

    Attributes:
        key: its name, in opinions and exports.
        tag: of the prompts that it is for. Prompts without a tag that a principle names are for principles without a tag.
        compare: the question by which a judge compares two answers.
        critique, revise: the instructions by which a model criticises its answer and revises it.
    """

    key: str
    tag: str = ""
    compare: str = ""
    critique: str = ""
    revise: str = ""
    comment: CommentWords | None = None

    def as_data(self) -> dict[str, Any]:
        """As it is stored and as `read_principles` reads it."""
        data: dict[str, Any] = {name: getattr(self, name) for name in TEXT_LIMITS}
        if self.comment:
            data["comment"] = dict(vars(self.comment))
        return data


TEXT_LIMITS = {
    "key": 40,
    "tag": MAX_TAG_CHARS,
    "compare": MAX_INSTRUCTION_CHARS,
    "critique": MAX_INSTRUCTION_CHARS,
    "revise": MAX_INSTRUCTION_CHARS,
}
COMMENT_LIMITS = {
    "start": MAX_START_CHARS,
    "good": MAX_WORD_CHARS,
    "bad": MAX_WORD_CHARS,
    "also": MAX_WORD_CHARS,
}

STARTING_PRINCIPLES = (
    Principle(
        "helpful",
        compare="Which answer does more of what was asked, completely and to the point?",
        critique="Say where the answer misses what was asked, leaves out something needed, or adds what nobody needs.",
        revise="Rewrite the answer so that it does all that was asked, and no more.",
    ),
    Principle(
        "honest",
        compare="Which answer states only what is true, and says so where it is not sure?",
        critique="Point out every statement in the answer that is false, made up, or surer than the evidence allows.",
        revise="Rewrite the answer without false or invented statements, and say openly what is uncertain.",
    ),
    Principle(
        "harmless",
        compare="Which answer is less likely to hurt anybody, without refusing help that does no harm?",
        critique="Say how the answer could hurt the reader or others, or where it refuses help that would do no harm.",
        revise="Rewrite the answer so that nobody is hurt by it, keep all help that does no harm, and say what it leaves out "
        "and why.",
    ),
)
"""What an editor begins with where there is no constitution."""


def read_principles(value: object) -> list[Principle]:
    """Principles from JSON: a list of 1 to 50 objects with the fields of `Principle`.

    Raises:
        PrincipleError
    """
    if not isinstance(value, list):
        raise PrincipleError(_("The principles are not a list."))
    if not value:
        raise PrincipleError(_("A constitution needs at least one principle."))
    if len(value) > MAX_PRINCIPLES:
        text = _("A constitution may have at most %(limit)s principles; there are %(count)s.")
        raise PrincipleError(text % {"limit": MAX_PRINCIPLES, "count": format_number(len(value))})
    principles: list[Principle] = []
    for number, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise PrincipleError(_("This is not an object."), number=number)
        principles.append(_Reader(entry, number).principle(taken={one.key for one in principles}))
    return principles


def stored_principles(value: Iterable[Mapping[str, Any]]) -> list[Principle]:
    """The principles of a stored version, which were checked when they were stored."""
    return [
        Principle(
            **{name: entry[name] for name in TEXT_LIMITS},
            comment=CommentWords(**entry["comment"]) if "comment" in entry else None,
        )
        for entry in value
    ]


def as_text(principles: Iterable[Principle]) -> str:
    """The principles in lines, for comparing two versions: each field begins a line that has its name."""
    blocks = []
    for principle in principles:
        data = principle.as_data()
        comment = data.pop("comment", {})
        named = data | {f"comment {name}": text for name, text in comment.items()}
        blocks.append("\n".join(f"{name}: {text}" for name, text in named.items() if text))
    return "\n\n".join(blocks)


class _Reader:
    """Reads one principle; its errors name it."""

    def __init__(self, data: Mapping[str, Any], number: int) -> None:
        self.data, self.number = data, number
        key = data.get("key")
        self.key = key if isinstance(key, str) and KEY.fullmatch(key) else ""

    def principle(self, taken: Iterable[str]) -> Principle:
        self._refuse_unknown(self.data, [field.name for field in fields(Principle)], "")
        texts = {name: self._text(self.data, name, limit) for name, limit in TEXT_LIMITS.items()}
        if not KEY.fullmatch(texts["key"]):
            text = _("Give a key of 1 to 40 lower-case letters, digits and hyphens.")
            raise self._error("key", text)
        if texts["key"] in taken:
            raise self._error("key", _("This key is taken: give each principle its own."))
        comment = self._comment()
        if not texts["compare"] and comment is None:
            raise self._error("compare", _("Write the question by which a judge compares two answers."))
        return Principle(**texts, comment=comment)

    def _comment(self) -> CommentWords | None:
        data = self.data.get("comment")
        if data is None:
            return None
        if not isinstance(data, Mapping):
            raise self._error("comment", _("This is not an object."))
        self._refuse_unknown(data, COMMENT_LIMITS, "comment.")
        texts = {name: self._text(data, name, limit, "comment.") for name, limit in COMMENT_LIMITS.items()}
        for name in ("start", "good", "bad"):
            if not texts[name]:
                raise self._error(
                    f"comment.{name}", _("A comment needs its start, a good word and a bad word.")
                )
        words = [texts[name] for name in ("good", "bad", "also") if texts[name]]
        if len(set(words)) < len(words):
            raise self._error("comment", _("The words of a comment are not different from each other."))
        return CommentWords(**texts)

    def _text(self, data: Mapping[str, Any], name: str, limit: int, prefix: str = "") -> str:
        value = data.get(name)
        value = "" if value is None else value
        if not isinstance(value, str) or len(value) > limit:
            limits = {"limit": format_number(limit)}
            raise self._error(
                f"{prefix}{name}", _("This is a text of at most %(limit)s characters.") % limits
            )
        if problem := storage_problem(value):
            raise self._error(f"{prefix}{name}", _("This text %(problem)s.") % {"problem": problem})
        return value.strip()

    def _refuse_unknown(self, data: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
        if unknown := set(data) - set(known):
            name = str(min(unknown))[:40]
            raise self._error(f"{prefix}{name}", _("There is no field %(field)r.") % {"field": name})

    def _error(self, field: str, message: str) -> PrincipleError:
        return PrincipleError(message, number=self.number, key=self.key, field=field)
