"""What a scripted or AI annotator is shown, and what it says."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    label: str
    """A, B, C, … in the order shown."""
    id: int
    text: str


@dataclass(frozen=True)
class Item:
    """A prompt and the answers to put in order; with no answer, or a single one, write the answer, or a better one.

    `degrees`: where it is not empty, one of them must be given. `asks`: what is asked beside the order, of quality, safety,
    flags, rationale and required rationale.
    """

    id: int
    prompt: list[dict[str, str]]
    answers: list[Answer]
    degrees: list[str]
    asks: list[str]
    ticket: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Item:
        answers = [Answer(**answer) for answer in data["answers"]]
        return cls(data["item"], data["prompt"], answers, data["degrees"], data["asks"], data["ticket"])


@dataclass(frozen=True)
class Marks:
    quality: int | None = None
    safe: bool | None = None
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class Judgment:
    """`ranks` by label or in the order shown; 1 is best, equal ranks are ties. `degree` of two answers. `text` where one is
    to be written."""

    ranks: Mapping[str, int] | Sequence[int] = field(default_factory=dict)
    degree: str | None = None
    rationale: str = ""
    marks: Mapping[str, Marks] = field(default_factory=dict)
    text: str = ""

    def body(self, item: Item) -> dict[str, Any]:
        """What is sent, with a key of its own, so that it counts once however often it is sent."""
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
