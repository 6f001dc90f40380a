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
    required rationale.
    """

    id: str
    prompt: list[dict[str, str]]
    answers: list[Answer]
    degrees: list[str]
    asks: list[str]
    ticket: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        answers = [Answer(**answer) for answer in data["answers"]]
        return cls(data["item"], data["prompt"], answers, data["degrees"], data["asks"], data["ticket"])


@dataclass(frozen=True)
class Marks:
    quality: int | None = None
    safe: bool | None = None
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class Judgment:
    """`ranks` by label or in the order shown; 1 is best, equal ranks are ties. `degree` of two answers. `text`: the answer that
    was written."""

    ranks: Mapping[str, int] | Sequence[int] = field(default_factory=dict)
    degree: str | None = None
    rationale: str = ""
    marks: Mapping[str, Marks] = field(default_factory=dict)
    text: str = ""

    def body(self, item: Item) -> dict[str, Any]:
        """The request body, with an idempotency key, so that it counts once however often it is sent."""
        body: dict[str, Any] = {
            "ticket": item.ticket,
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
                label: {"quality": marks.quality, "safe": marks.safe, "flags": list(marks.flags)}
                for label, marks in self.marks.items()
            }
        return body


@dataclass(frozen=True)
class Skip:
    """`reason`: all_bad, identical, cannot_judge, unsafe, broken or review."""

    reason: str = "cannot_judge"
    note: str = ""
