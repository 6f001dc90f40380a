"""What is on an annotator's screen: as the form sends it, as a draft keeps it, as a judgment says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from annotation.actions.judgments import ResponseRatings
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS
from annotation.logic.response_flags import FLAGS
from annotation.models import Judgment, Skip
from annotation.views.judging import compare, rank

NO_RATINGS = ResponseRatings(quality=None, safe=None, flags=())
SAFE = {"safe": True, "unsafe": False}
MAX_KEPT_CHARS = 200_000


@dataclass(frozen=True)
class Entry:
    """All that can be said of one item. `text` is None where nothing was written yet."""

    ranks: Mapping[int, int] = field(default_factory=dict)
    degree: str | None = None
    marks: Mapping[int, ResponseRatings] = field(default_factory=dict)
    rationale: str = ""
    text: str | None = None

    @classmethod
    def read(cls, form: QueryDict, shown: Sequence[int]) -> Entry:
        """What the form says of the answers shown. What makes no sense counts as not given."""
        ranks, degree = compare.read(form, shown) if len(shown) == 2 else (rank.read(form, shown), None)
        marks = {response: _marks(form, response) for response in shown}
        return cls(
            ranks=ranks,
            degree=degree,
            marks={response: one for response, one in marks.items() if one != NO_RATINGS},
            rationale=form.get("rationale", ""),
            text=form.get("text"),
        )

    @classmethod
    def of(cls, judgment: Judgment) -> Entry:
        """What a judgment says; its placements are read, and its demonstration."""
        placements = list(judgment.placements.all())
        return cls(
            ranks={one.response_id: one.rank for one in placements},
            degree=judgment.degree,
            marks={
                one.response_id: ResponseRatings(quality=one.quality, safe=one.safe, flags=tuple(one.flags))
                for one in placements
            },
            rationale=judgment.rationale,
            text=judgment.demonstration.text if judgment.demonstration else None,
        )

    @classmethod
    def from_data(cls, data: object, shown: Sequence[int]) -> Entry:
        """A kept draft, of those answers that are shown. A script may have kept anything: what does not fit is left out."""
        kept = _dict(data)
        ranks, marks = _dict(kept.get("ranks")), _dict(kept.get("marks"))
        placed = {response: _number(ranks.get(str(response)), len(shown)) for response in shown}
        marked = {response: _kept(_dict(marks.get(str(response)))) for response in shown}
        degree, rationale, text = kept.get("degree"), kept.get("rationale"), kept.get("text")
        return cls(
            ranks={response: rank for response, rank in placed.items() if rank is not None},
            degree=degree if degree in Judgment.Degree.values else None,
            marks={response: one for response, one in marked.items() if one != NO_RATINGS},
            rationale=rationale if isinstance(rationale, str) else "",
            text=text if isinstance(text, str) else None,
        )

    def as_data(self) -> dict[str, Any]:
        """As JSON that the database can hold, for a draft or beside a skip; without what was not said."""
        data: dict[str, Any] = {
            "ranks": {str(response): given for response, given in self.ranks.items()},
            "degree": self.degree,
            "marks": {
                str(response): {"quality": one.quality, "safe": one.safe, "flags": list(one.flags)}
                for response, one in self.marks.items()
            },
            "rationale": self.rationale.replace("\0", "")[:MAX_KEPT_CHARS],
            "text": None if self.text is None else self.text.replace("\0", "")[:MAX_KEPT_CHARS],
        }
        return {name: said for name, said in data.items() if said not in (None, {}, "")}


def skip_note(form: QueryDict) -> str:
    return form.get("note", "").replace("\0", "").strip()[:MAX_SKIP_NOTE_CHARS]


def skip_data(form: QueryDict, reason: str, shown: Sequence[int]) -> dict[str, Any] | None:
    """What was said before the skip: kept where a reviewer is to look at it."""
    return (Entry.read(form, shown).as_data() or None) if reason == Skip.Reason.REVIEW else None


def _marks(form: QueryDict, response: int) -> ResponseRatings:
    quality = form.get(f"quality-{response}", "")
    return ResponseRatings(
        quality=int(quality) if rank.SMALL_NUMBER.fullmatch(quality) else None,
        safe=SAFE.get(form.get(f"safe-{response}", "")),
        flags=tuple(flag for flag in FLAGS if flag in form.getlist(f"flags-{response}")),
    )


def _kept(data: Mapping[str, Any]) -> ResponseRatings:
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
