"""Input of an annotator's screen: read from a form, a draft or a judgment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from annotation.actions.judgments import ResponseRatings
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS
from annotation.models import Judgment, Skip
from annotation.views.judging import compare, rank

NO_RATINGS = ResponseRatings(quality=None, safe=None, flags=())
SAFE = {"safe": True, "unsafe": False}
MAX_DRAFT_CHARS = 200_000


@dataclass(frozen=True)
class FormInput:
    """Everything entered for one item. `text` is None where nothing was written yet."""

    ranks: Mapping[int, int] = field(default_factory=dict)
    degree: str | None = None
    ratings: Mapping[int, ResponseRatings] = field(default_factory=dict)
    rationale: str = ""
    text: str | None = None

    @classmethod
    def read(cls, form: QueryDict, shown: Sequence[int]) -> FormInput:
        """From a submitted form. Invalid values count as not entered."""
        ranks, degree = compare.read(form, shown) if len(shown) == 2 else (rank.read(form, shown), None)
        ratings = {
            response: _read_ratings(form, letter) for letter, response in zip(LETTERS, shown, strict=False)
        }
        return cls(
            ranks=ranks,
            degree=degree,
            ratings={response: rating for response, rating in ratings.items() if rating != NO_RATINGS},
            rationale=form.get("rationale", ""),
            text=form.get("text"),
        )

    @classmethod
    def of(cls, judgment: Judgment) -> FormInput:
        """From a stored judgment, with its placements and its demonstration."""
        placements = list(judgment.placements.all())
        return cls(
            ranks={placement.response_id: placement.rank for placement in placements},
            degree=judgment.degree,
            ratings={
                placement.response_id: ResponseRatings(
                    quality=placement.quality, safe=placement.safe, flags=tuple(placement.flags)
                )
                for placement in placements
            },
            rationale=judgment.rationale,
            text=judgment.demonstration.text if judgment.demonstration else None,
        )

    @classmethod
    def from_data(cls, data: object, shown: Sequence[int]) -> FormInput:
        """From a stored draft, for the answers shown. Scripts can store anything as a draft: invalid values are dropped."""
        stored = _dict(data)
        ranks, marks = _dict(stored.get("ranks")), _dict(stored.get("marks"))
        placed = {response: _number(ranks.get(str(response)), len(shown)) for response in shown}
        rated = {response: _stored_ratings(_dict(marks.get(str(response)))) for response in shown}
        degree, rationale, text = stored.get("degree"), stored.get("rationale"), stored.get("text")
        return cls(
            ranks={response: rank for response, rank in placed.items() if rank is not None},
            degree=degree if degree in Judgment.Degree.values else None,
            ratings={response: rating for response, rating in rated.items() if rating != NO_RATINGS},
            rationale=rationale if isinstance(rationale, str) else "",
            text=text if isinstance(text, str) else None,
        )

    def as_data(self) -> dict[str, Any]:
        """As JSON for a draft or a skip; empty values are left out."""
        data: dict[str, Any] = {
            "ranks": {str(response): rank for response, rank in self.ranks.items()},
            "degree": self.degree,
            "marks": {
                str(response): {"quality": rating.quality, "safe": rating.safe, "flags": list(rating.flags)}
                for response, rating in self.ratings.items()
            },
            "rationale": self.rationale.replace("\0", "")[:MAX_DRAFT_CHARS],
            "text": None if self.text is None else self.text.replace("\0", "")[:MAX_DRAFT_CHARS],
        }
        return {name: value for name, value in data.items() if value not in (None, {}, "")}


def skip_note(form: QueryDict) -> str:
    return form.get("note", "").replace("\0", "").strip()[:MAX_SKIP_NOTE_CHARS]


def skip_data(form: QueryDict, reason: str, shown: Sequence[int]) -> dict[str, Any] | None:
    """What was entered before the skip; stored if the item is sent to a reviewer."""
    return (FormInput.read(form, shown).as_data() or None) if reason == Skip.Reason.REVIEW else None


def _read_ratings(form: QueryDict, letter: str) -> ResponseRatings:
    quality = form.get(f"quality-{letter}", "")
    return ResponseRatings(
        quality=int(quality) if rank.SMALL_NUMBER.fullmatch(quality) else None,
        safe=SAFE.get(form.get(f"safe-{letter}", "")),
        flags=tuple(flag for flag in FLAGS if flag in form.getlist(f"flags-{letter}")),
    )


def _stored_ratings(data: Mapping[str, Any]) -> ResponseRatings:
    safe, flags = data.get("safe"), data.get("flags")
    return ResponseRatings(
        quality=_number(data.get("quality"), QUALITY_MAX),
        safe=safe if isinstance(safe, bool) else None,
        flags=tuple(flag for flag in FLAGS if flag in flags) if isinstance(flags, list) else (),
    )


def _dict(data: object) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _number(data: object, most: int) -> int | None:
    """A whole number from 1 to `most`."""
    return data if isinstance(data, int) and not isinstance(data, bool) and 1 <= data <= most else None
