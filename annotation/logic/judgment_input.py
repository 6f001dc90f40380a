"""What somebody says of an item, and what of it is refused, with a sentence for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.logic.ranking import LETTERS, MARGINS, dense
from annotation.logic.response_flags import FLAGS

MAX_RATIONALE_CHARS = 10_000
MAX_TEXT_CHARS = 100_000
QUALITY_MAX = 7


class JudgmentError(Exception):
    """Why a judgment was not taken, in a sentence for the person who gave it; `field` names what to mend: ranks, degree,
    quality, safety, flags, rationale, text, idempotency_key, item or judgment."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class AlreadyJudged(JudgmentError):
    """The same person judged the same item before; that judgment stands."""


class UnsafePreferred(JudgmentError):
    """An unsafe answer stands above a safe one. The item can be sent to a reviewer instead."""


@dataclass(frozen=True)
class ResponseRatings:
    """What was noted of one answer beside its rank: quality from 1 to 7, whether it is safe, and flags of `logic.flags`.
    Each is asked for or not by the project (`Project.asks`)."""

    quality: int | None = None
    safe: bool | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgmentInput:
    """What somebody says of the answers that they were shown, with what was asked of them (`Project.asks`)."""

    shown_order: Sequence[int]
    asks: Collection[str]
    ranks: Mapping[int, int]
    degree: str | None
    rationale: str
    ratings: Mapping[int, ResponseRatings]
    text: str

    @property
    def orders(self) -> bool:
        """Whether answers are to be ordered; else one is to be written."""
        return len(self.shown_order) >= 2

    def placements(self) -> list[dict[str, Any]]:
        """The rows to be, in the order shown; ranks without gaps."""
        if not self.orders:
            return []
        ranks = dense([self.ranks[response] for response in self.shown_order])
        ratings = [self.ratings.get(response, ResponseRatings()) for response in self.shown_order]
        return [
            {
                "response_id": response,
                "rank": rank,
                "quality": mark.quality,
                "safe": mark.safe,
                "flags": list(dict.fromkeys(mark.flags)),
            }
            for response, rank, mark in zip(self.shown_order, ranks, ratings, strict=True)
        ]


def check(said: JudgmentInput) -> None:
    """
    Raises:
        JudgmentError: it is incomplete or contradicts itself.
        UnsafePreferred: it puts an unsafe answer above a safe one.
    """
    if said.orders:
        _check_ranks(said)
        _check_marks(said)
        _check_degree(said)
        _check_safety(said)
    else:
        _check_text(said)
    _check_rationale(said)


def _check_text(said: JudgmentInput) -> None:
    if said.ranks or said.ratings or said.degree is not None:
        raise JudgmentError("ranks", "Nothing is ranked here: write the answer.")
    if not said.text.strip():
        raise JudgmentError("text", "Write the answer.")
    if "\0" in said.text:
        raise JudgmentError("text", "The answer holds a null byte.")
    if len(said.text) > MAX_TEXT_CHARS:
        raise JudgmentError("text", f"An answer may have at most {MAX_TEXT_CHARS:,} characters.")


def _check_ranks(said: JudgmentInput) -> None:
    k = len(said.shown_order)
    if said.text:
        raise JudgmentError("text", "No answer is written here: give every answer a rank.")
    if unknown := (set(said.ranks) | set(said.ratings)) - set(said.shown_order):
        raise JudgmentError("ranks", f"Response {min(unknown)} does not stand in this item.")
    if missing := _letters(said, lambda response: response not in said.ranks):
        raise JudgmentError("ranks", f"Every answer needs a rank; missing: {missing}.")
    if any(not 1 <= rank <= k for rank in said.ranks.values()):
        raise JudgmentError("ranks", f"A rank is a number from 1 to {k}.")


def _check_degree(said: JudgmentInput) -> None:
    if len(said.shown_order) > 2:
        if said.degree is not None:
            raise JudgmentError("degree", "A ranking has no degree.")
        return
    if said.degree not in MARGINS:
        raise JudgmentError("degree", "Say how much better the preferred answer is.")
    if len(set(said.ranks.values())) == 1:
        raise JudgmentError(
            "ranks", "Choose one of the two: for a near tie there is “negligibly better / unsure”."
        )


def _check_marks(said: JudgmentInput) -> None:
    ratings = {response: said.ratings.get(response, ResponseRatings()) for response in said.shown_order}
    if "quality" in said.asks:
        if missing := _letters(said, lambda response: ratings[response].quality is None):
            raise JudgmentError(
                "quality", f"Every answer needs a quality from 1 to {QUALITY_MAX}; missing: {missing}."
            )
        if any(not 1 <= (mark.quality or 0) <= QUALITY_MAX for mark in ratings.values()):
            raise JudgmentError("quality", f"A quality is a number from 1 to {QUALITY_MAX}.")
    elif any(mark.quality is not None for mark in ratings.values()):
        raise JudgmentError("quality", "This project does not ask for a quality.")
    if "safety" in said.asks:
        if missing := _letters(said, lambda response: ratings[response].safe is None):
            raise JudgmentError("safety", f"Say of every answer whether it is safe; missing: {missing}.")
    elif any(mark.safe is not None for mark in ratings.values()):
        raise JudgmentError("safety", "This project does not ask whether answers are safe.")
    given = {flag for mark in ratings.values() for flag in mark.flags}
    if given and "flags" not in said.asks:
        raise JudgmentError("flags", "This project does not ask for flags.")
    if unknown := given - set(FLAGS):
        raise JudgmentError("flags", f"{min(unknown)!r} is not a flag: there are {', '.join(FLAGS)}.")


def _check_safety(said: JudgmentInput) -> None:
    """Preferred and unsafe, where the other one is safe, is what Llama 2's safety bins leave out (Touvron et al. 2023,
    arXiv:2307.09288, section 3.2.1). A tie prefers nobody."""
    unsafe = [r for r in said.shown_order if (said.ratings.get(r) or ResponseRatings()).safe is False]
    safe = [r for r in said.shown_order if (said.ratings.get(r) or ResponseRatings()).safe is True]
    for worse in unsafe:
        if below := [better for better in safe if said.ranks[worse] < said.ranks[better]]:
            first, second = (_letters(said, lambda r, one=one: r == one) for one in (worse, below[0]))  # type: ignore[misc]
            raise UnsafePreferred(
                "safety",
                f"{first} is marked unsafe and cannot stand above {second}, which is safe. Change one of the two, or "
                "send the item to a reviewer.",
            )


def _check_rationale(said: JudgmentInput) -> None:
    if "\0" in said.rationale:
        raise JudgmentError("rationale", "The rationale holds a null byte.")
    if len(said.rationale) > MAX_RATIONALE_CHARS:
        raise JudgmentError("rationale", f"A rationale may have at most {MAX_RATIONALE_CHARS:,} characters.")
    if "required rationale" in said.asks and not said.rationale.strip():
        raise JudgmentError("rationale", "Say in a few words why.")


def _letters(said: JudgmentInput, chosen: Callable[[int], bool]) -> str:
    """The letters under which these answers were shown: "B, D"."""
    return ", ".join(
        letter for letter, response in zip(LETTERS, said.shown_order, strict=False) if chosen(response)
    )
