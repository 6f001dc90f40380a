"""Items, and the judgments or skips that a scripted or AI annotator returns."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    label: str
    """A, B, C, … in the order shown."""
    text: str


@dataclass(frozen=True)
class Item:
    """A prompt and the answers to rank; without answers, write one; with a single answer, improve it.

    `degrees`: if not empty, one of them is required. `asks`: what else is asked, any of quality, safety, flags, rationale and
    required rationale. `questions`: the project's own, each with `key`, `kind`, `label`, `scale` and more.
    """

    id: str
    prompt: list[dict[str, str]]
    answers: list[Answer]
    degrees: list[str]
    asks: list[str]
    ticket: str
    questions: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        answers = [Answer(**answer) for answer in data["answers"]]
        return cls(
            id=data["item"],
            prompt=data["prompt"],
            answers=answers,
            degrees=data["degrees"],
            asks=data["asks"],
            ticket=data["ticket"],
            questions=data["questions"],
        )


@dataclass(frozen=True)
class Marks:
    """`criteria`: ratings, by the keys of the project's own questions. `comments`: on passages, each with `text` and `quote`."""

    quality: int | None = None
    safe: bool | None = None
    flags: Sequence[str] = ()
    criteria: Mapping[str, int] = field(default_factory=dict)
    comments: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Judgment:
    """`ranks` by label or in the order shown; 1 is best, equal ranks are ties. `degree` of two answers. `text`: the answer that
    was written. `answers`: free texts, by the keys of the project's own questions."""

    ranks: Mapping[str, int] | Sequence[int] = field(default_factory=dict)
    degree: str | None = None
    rationale: str = ""
    marks: Mapping[str, Marks] = field(default_factory=dict)
    text: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    def body(self, ticket: str) -> dict[str, Any]:
        """The request body for the item of a ticket, with an idempotency key, so that it counts once however often it is sent."""
        body: dict[str, Any] = {
            "ticket": ticket,
            "ranks": dict(self.ranks) if isinstance(self.ranks, Mapping) else list(self.ranks),
            "rationale": self.rationale,
            "idempotency_key": str(uuid.uuid4()),
        }
        if self.degree is not None:
            body["degree"] = self.degree
        if self.text:
            body["text"] = self.text
        if self.marks:
            body["marks"] = {
                label: {
                    "quality": marks.quality,
                    "safe": marks.safe,
                    "flags": list(marks.flags),
                    "criteria": dict(marks.criteria),
                    "comments": [dict(comment) for comment in marks.comments],
                }
                for label, marks in self.marks.items()
            }
        if self.answers:
            body["answers"] = dict(self.answers)
        return body


@dataclass(frozen=True)
class Skip:
    """`reason`: all_bad, identical, cannot_judge, unsafe, broken or review."""

    reason: str = "cannot_judge"
    note: str = ""
