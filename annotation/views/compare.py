"""What the Compare screen sends: one press that says which of the two is better, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from annotation.actions.queue import Lease
from annotation.models import Judgment

Degree = Judgment.Degree


@dataclass(frozen=True)
class Choice:
    """One of the eight buttons. `side` is 0 for A and 1 for B; `key` is the digit that presses it."""

    side: int
    degree: Degree
    key: int
    words: str

    @property
    def value(self) -> str:
        return f"{self.side}-{self.degree.value}"

    @property
    def letter(self) -> str:
        return "AB"[self.side]

    @property
    def sentence(self) -> str:
        return f"{self.letter} is {self.degree.label.lower()}"


_WORDS = {
    Degree.SIGNIFICANTLY: "Significantly",
    Degree.BETTER: "Better",
    Degree.SLIGHTLY: "Slightly",
    Degree.NEGLIGIBLY: "Negligibly / unsure",
}
# from "A is significantly better" on the left, through the unsure middle, to "B is significantly better"
CHOICES = [
    Choice(side, degree, key, _WORDS[degree])
    for key, (side, degree) in enumerate(
        [(0, d) for d in Degree] + [(1, d) for d in reversed(Degree)], start=1
    )
]
_BY_VALUE = {choice.value: choice for choice in CHOICES}


def read(form: Mapping[str, str], lease: Lease) -> tuple[dict[int, int], str | None]:
    """Response id -> rank, and the degree; no ranks where no button was pressed."""
    choice = _BY_VALUE.get(form.get("choice", ""))
    if choice is None:
        return {}, None
    better = lease.shown_order[choice.side]
    return {response: 1 if response == better else 2 for response in lease.shown_order}, choice.degree.value
