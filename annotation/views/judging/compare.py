"""The Compare screen: eight choices of which answer is better, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from annotation.models import Judgment

Degree = Judgment.Degree
SHORT = {
    Degree.SIGNIFICANTLY: _("Significantly"),
    Degree.BETTER: _("Better"),
    Degree.SLIGHTLY: _("Slightly"),
    Degree.NEGLIGIBLY: _("Negligibly"),
}
SENTENCES = {
    Degree.SIGNIFICANTLY: _("%(letter)s is significantly better"),
    Degree.BETTER: _("%(letter)s is better"),
    Degree.SLIGHTLY: _("%(letter)s is slightly better"),
    Degree.NEGLIGIBLY: _("%(letter)s is negligibly better / unsure"),
}
SIGNS = {
    Degree.SIGNIFICANTLY: "‹‹‹ ›››".split(),
    Degree.BETTER: "‹‹ ››".split(),
    Degree.SLIGHTLY: "‹ ›".split(),
    Degree.NEGLIGIBLY: "≈ ≈".split(),
}
"""For A and for B."""


@dataclass(frozen=True)
class Choice:
    """One of the eight buttons. `side` is 0 for A and 1 for B; `key` is the digit that presses it."""

    side: int
    degree: Degree
    key: int

    @property
    def value(self) -> str:
        return f"{self.side}-{self.degree.value}"

    @property
    def letter(self) -> str:
        return "AB"[self.side]

    @property
    def sentence(self) -> str:
        return SENTENCES[self.degree] % {"letter": self.letter}

    @property
    def short(self) -> str:
        """The word on the button. It stands on the side of the better answer."""
        return str(SHORT[self.degree])

    @property
    def sign(self) -> str:
        """What a narrow button shows: one to three arrows to the better answer."""
        return SIGNS[self.degree][self.side]


# from "A is significantly better" on the left, through the unsure middle, to "B is significantly better"
CHOICES = [
    Choice(side, degree, key)
    for key, (side, degree) in enumerate(
        [(0, d) for d in Degree] + [(1, d) for d in reversed(Degree)], start=1
    )
]
_BY_VALUE = {choice.value: choice for choice in CHOICES}


def read(form: Mapping[str, str], shown: Sequence[int]) -> tuple[dict[int, int], str | None]:
    """Ranks by response id, and the degree; no ranks where no button was pressed."""
    choice = _BY_VALUE.get(form.get("choice", ""))
    if choice is None:
        return {}, None
    better = shown[choice.side]
    return {response: 1 if response == better else 2 for response in shown}, choice.degree.value


def chosen(ranks: Mapping[int, int], degree: str | None, shown: Sequence[int]) -> Choice | None:
    """The choice that these ranks and this degree stand for; None where there is none."""
    if len(shown) != 2 or len(set(ranks.values())) != 2:
        return None
    side = 0 if ranks.get(shown[0], 9) < ranks.get(shown[1], 9) else 1
    return _BY_VALUE.get(f"{side}-{degree}")
