"""A preference in a file: how somebody ordered the answers of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from annotation.logic import ranking
from annotation.logic.translation import gettext as _


class NoPreference(Exception):
    """Why a row has no preference, or none that can be read, in a few words."""


@dataclass(frozen=True)
class Preference:
    """One judgment of the answers of a row; lists have an entry for each answer, in the row's order.

    Args:
        ranks: 1 is best, equal ranks are ties; empty for a written answer, which `details` has as its `demonstration`.
        ratings: by criterion, `{"question", "value"}`.
        comments: on passages, `{"quote", "start", "end", "text"}`.
        annotator: as the file calls them; empty if it does not.
        account: `person` or `machine`; empty if the file does not say.
        shown_order: positions of the answers, in the order on the screen.
        judged_at: ISO 8601.
        details: what else the file says of the judgment.
    """

    ranks: list[int]
    annotator: str = ""
    account: str = ""
    degree: str | None = None
    quality: list[int | None] | None = None
    safe: list[bool | None] | None = None
    flags: list[list[str]] | None = None
    ratings: list[list[dict[str, Any]]] | None = None
    comments: list[list[dict[str, Any]]] | None = None
    rationale: str = ""
    shown_order: list[int] | None = None
    judged_at: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def restricted_to(self, positions: Sequence[int]) -> Preference:
        """The same of some of the answers, which are counted from 0, in the order of `positions`.

        Raises:
            NoPreference: it has fewer than two of them, or does not rank all.
        """
        if not self.ranks:
            return self
        if len(positions) < 2 or max(positions) >= len(self.ranks):
            raise NoPreference(_("preferences between answers that are not imported"))
        if list(positions) == list(range(len(self.ranks))):
            return self
        if len(set(self.ranks)) > 1 and len({self.ranks[n] for n in positions}) == 1:
            raise NoPreference(_("preferences for an answer that is not imported"))
        new_position = {old: new for new, old in enumerate(positions)}
        shown = self.shown_order and [new_position[old] for old in self.shown_order if old in new_position]
        return replace(
            self,
            ranks=ranking.dense([self.ranks[n] for n in positions]),
            quality=self.quality and [self.quality[n] for n in positions],
            safe=self.safe and [self.safe[n] for n in positions],
            flags=self.flags and [self.flags[n] for n in positions],
            ratings=self.ratings and [self.ratings[n] for n in positions],
            comments=self.comments and [self.comments[n] for n in positions],
            shown_order=shown,
        )


MAX_NUMBER = 1e15
"""Larger scores are none: as floats, neighbours would be equal."""
FIRST, SECOND, TIE = [1, 2], [2, 1], [1, 1]
"""The ranks of two answers."""
_DEGREES = {3: "significantly", 2: "better", 1: "slightly", 0: "negligibly"}


def ranks_by_score(scores: Sequence[object]) -> list[int]:
    """The ranks of answers by their scores, highest first.

    Raises:
        NoPreference: there are fewer than two, or one of them is not a number.
    """
    if len(scores) < 2:
        raise NoPreference(_("rows with fewer than two scores"))
    numbers = [as_number(score) for score in scores]
    return ranking.dense([sum(other > number for other in numbers) + 1 for number in numbers])


def as_number(value: object) -> float:
    """A number, also if it is written as a text.

    Raises:
        NoPreference: it is not one.
    """
    if isinstance(value, str):
        try:
            return as_number(float(value))
        except ValueError:
            raise NoPreference(_("rows with the score %(value)s") % {"value": repr(value[:20])}) from None
    if isinstance(value, int | float) and not isinstance(value, bool) and -MAX_NUMBER <= value <= MAX_NUMBER:
        return float(value)  # NaN is not within the bounds either
    raise NoPreference(
        _("rows without a preference") if value is None else _("rows with a score that is not a number")
    )


def as_text(value: object) -> str:
    """A text; empty if it is none, or a number as one."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def read_time(value: object) -> str | None:
    """A time in UTC as ISO 8601; None if it is none of these centuries. value: ISO 8601, in UTC if it has no zone, or a number
    of seconds since 1970."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            time = datetime.fromtimestamp(value, UTC)
        else:
            time = datetime.fromisoformat(as_text(value))
            time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time.isoformat() if 1900 < time.year < 2200 else None


def choose(value: object, ranks: Mapping[object, list[int]]) -> list[int]:
    """The ranks of the answers, from what a column says and what that means.

    Raises:
        NoPreference: it says something else.
    """
    if value is None or value == "":
        raise NoPreference(_("rows without a preference"))
    key = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(key, str) and key not in ranks and re.fullmatch("[0-9]", key.strip()):
        key = int(key)  # in a CSV, numbers are texts
    if isinstance(key, list | dict) or key not in ranks:
        raise NoPreference(_("rows whose preference is %(value)s") % {"value": repr(str(value)[:30])})
    return ranks[key]


def from_strength(value: object) -> Preference:
    """HelpSteer's scale: -3 (the first is much better) to 3 (the second is).

    Raises:
        NoPreference: it is none of these.
    """
    strength = as_number(value)
    if not strength.is_integer() or not -3 <= strength <= 3:
        raise NoPreference(_("rows whose preference is %(value)s, none of -3 to 3") % {"value": repr(value)})
    ranks = TIE if strength == 0 else FIRST if strength < 0 else SECOND
    return Preference(ranks, degree=_DEGREES[abs(int(strength))])
