"""Input of an annotator's screen: read from a form, a draft or a judgment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.http import QueryDict

from annotation.actions.judgments import ResponseRatings
from annotation.logic.device_times import DeviceTimes
from annotation.logic.judgment_input import QUALITY_MAX
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS
from annotation.logic.questions import KEY, MAX_SCALE, Comment
from annotation.logic.ranking import LETTERS
from annotation.models import Judgment, Skip
from annotation.views.judging import compare, rank

NO_RATINGS = ResponseRatings()
SAFE = {"safe": True, "unsafe": False}
MAX_DRAFT_CHARS = 200_000


@dataclass(frozen=True)
class FormInput:
    """Everything entered for one item. `text` is None where nothing was written yet; `answers` are free texts, by the keys of
    the project's own questions."""

    ranks: Mapping[int, int] = field(default_factory=dict)
    degree: str | None = None
    ratings: Mapping[int, ResponseRatings] = field(default_factory=dict)
    rationale: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
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
            answers={
                name.removeprefix("answer-"): form.get(name, "")
                for name in form
                if name.startswith("answer-")
            },
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
                    quality=placement.quality,
                    safe=placement.safe,
                    flags=tuple(placement.flags),
                    criteria=placement.criteria,
                    comments=_read_comments(placement.comments),
                )
                for placement in placements
            },
            rationale=judgment.rationale,
            answers=judgment.answers,
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
        answers = _dict(stored.get("answers"))
        return cls(
            ranks={response: rank for response, rank in placed.items() if rank is not None},
            degree=degree if degree in Judgment.Degree.values else None,
            ratings={response: rating for response, rating in rated.items() if rating != NO_RATINGS},
            rationale=rationale if isinstance(rationale, str) else "",
            answers={key: answer for key, answer in answers.items() if isinstance(answer, str)},
            text=text if isinstance(text, str) else None,
        )

    def as_data(self) -> dict[str, Any]:
        """As JSON for a draft or a skip; empty values are left out."""
        data: dict[str, Any] = {
            "ranks": {str(response): rank for response, rank in self.ranks.items()},
            "degree": self.degree,
            "marks": {str(response): _mark_data(rating) for response, rating in self.ratings.items()},
            "rationale": self.rationale.replace("\0", "")[:MAX_DRAFT_CHARS],
            "answers": {
                key: text.replace("\0", "")[:MAX_DRAFT_CHARS] for key, text in self.answers.items() if text
            },
            "text": None if self.text is None else self.text.replace("\0", "")[:MAX_DRAFT_CHARS],
        }
        return {name: value for name, value in data.items() if value not in (None, {}, "")}


def _mark_data(rating: ResponseRatings) -> dict[str, Any]:
    data: dict[str, Any] = {"quality": rating.quality, "safe": rating.safe, "flags": list(rating.flags)}
    own = {"criteria": dict(rating.criteria), "comments": [asdict(comment) for comment in rating.comments]}
    return data | {name: value for name, value in own.items() if value}


def device_times(form: QueryDict) -> DeviceTimes:
    """The page's `seconds` and `late`."""
    return DeviceTimes.read(form.get("seconds", ""), form.get("late", ""))


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
        flags=tuple(flag for flag in form.getlist(f"flags-{letter}") if KEY.fullmatch(flag)),
        criteria=_read_criteria(form, letter),
        comments=_read_comments(_json(form.get(f"comments-{letter}", ""))),
    )


def _read_criteria(form: QueryDict, letter: str) -> dict[str, int]:
    """From fields `criterion-<key>-<letter>`."""
    names = {name.removeprefix("criterion-").removesuffix(f"-{letter}"): name for name in form}
    values = {key: form.get(name, "") for key, name in names.items() if name == f"criterion-{key}-{letter}"}
    return {key: int(value) for key, value in values.items() if rank.SMALL_NUMBER.fullmatch(value)}


def _json(text: str) -> object:
    try:
        return json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []


def _read_comments(data: object) -> tuple[Comment, ...]:
    """From objects with `text`, `quote` and `occurrence`; other things are left out."""
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []

    def whole(entry: dict[str, Any], name: str) -> int:
        number = entry.get(name)
        return number if type(number) is int and number >= 0 else 0

    return tuple(
        Comment(
            text=str(entry.get("text") or ""),
            quote=str(entry.get("quote") or ""),
            occurrence=whole(entry, "occurrence"),
            occurrences=whole(entry, "occurrences"),
        )
        for entry in entries
    )


def _stored_ratings(data: Mapping[str, Any]) -> ResponseRatings:
    safe, flags = data.get("safe"), data.get("flags")
    return ResponseRatings(
        quality=_number(data.get("quality"), QUALITY_MAX),
        safe=safe if isinstance(safe, bool) else None,
        flags=tuple(flag for flag in flags if isinstance(flag, str)) if isinstance(flags, list) else (),
        criteria={
            key: rating
            for key, value in _dict(data.get("criteria")).items()
            if (rating := _number(value, MAX_SCALE))
        },
        comments=_read_comments(data.get("comments")),
    )


def _dict(data: object) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _number(data: object, most: int) -> int | None:
    """A whole number from 1 to `most`."""
    return data if isinstance(data, int) and not isinstance(data, bool) and 1 <= data <= most else None
