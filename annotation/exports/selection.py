"""The parameters of an export: its format, and filters of judgments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.exports.formats import FORMATS, JUDGED_ROWS

VOTES = {
    "all": gettext_noop("Every judgment on its own."),
    "majority": gettext_noop("Of two answers, the one that more people prefer is better."),
    "bradley-terry": gettext_noop("Answers are ordered by their Bradley-Terry strengths."),
    "unanimous": gettext_noop("Only preferences shared by everybody who judged the item."),
}
FILES = {"jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
GOLD = IMPORTED = ("exclude", "include", "only")
AI = ("exclude", "only", "with")
SPLITS = ("train", "held_out")
ACCOUNTS = ("person", "machine")
MAX_CHARS = 200
OF_PEOPLE_ONLY = ("votes", "annotator", "account", "guideline", "agreement", "control", "imported", "counted")
"""Parameters that select among people's judgments, and leave a judge's opinions as they are."""


class SelectionError(ValueError):
    """What is wrong with a parameter, in a sentence; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Selection:
    """The parameters of one export. A filter that is None selects everything."""

    format: str = "trl"
    file: str = "jsonl"
    votes: str = "all"
    origin: bool = False
    split: str | None = None
    tag: str | None = None
    annotator: str | None = None
    account: str | None = None
    model: str | None = None
    guideline: int | None = None
    round: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    agreement: float | None = None
    control: bool = False
    gold: str = "exclude"
    imported: str = "exclude"
    counted: bool = False
    ai: str = "exclude"
    opinions: int | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str], *, of_snapshot: bool = False) -> Selection:
        """From the query parameters of a URL. Formats for training leave out gold items and imported judgments by
        default.

        Raises:
            SelectionError: a parameter is unknown or invalid.
        """
        if unknown := set(parameters) - {field.name for field in fields(cls)}:
            name = min(unknown)
            raise SelectionError(name[:40], _("There is no parameter %(name)s.") % {"name": repr(name[:40])})
        format = _choice(parameters, "format", FORMATS, "trl")
        default = "exclude" if FORMATS[format].for_training else "include"
        selection = cls(
            format=format,
            file=_choice(parameters, "file", FILES, "jsonl"),
            votes=_votes(parameters, format),
            origin=_flag(parameters, "origin"),
            split=_choice(parameters, "split", SPLITS, ""),
            tag=_text(parameters, "tag"),
            annotator=_text(parameters, "annotator"),
            account=_choice(parameters, "account", ACCOUNTS, ""),
            model=_text(parameters, "model"),
            guideline=_integer(parameters, "guideline"),
            round=_integer(parameters, "round"),
            since=_datetime(parameters, "since"),
            until=_datetime(parameters, "until", end_of_day=True),
            agreement=_fraction(parameters, "agreement"),
            control=_flag(parameters, "control"),
            gold=_choice(parameters, "gold", GOLD, default),
            imported=_choice(parameters, "imported", IMPORTED, default),
            counted=_flag(parameters, "counted"),
            ai=_choice(parameters, "ai", AI, "exclude"),
            opinions=_integer(parameters, "opinions"),
        )
        selection._check_opinions(of_snapshot)
        return selection

    def _check_opinions(self, of_snapshot: bool) -> None:
        if self.ai == "exclude":
            if self.opinions is not None:
                raise SelectionError("opinions", _("Opinions are exported with ai=only or ai=with."))
            return
        if of_snapshot:
            text = _("A snapshot has people's judgments only: opinions are in exports of the project.")
            raise SelectionError("ai", text)
        if FORMATS[self.format].rows not in JUDGED_ROWS:
            text = _(
                "The format %(format)s cannot have a judge's opinions: take one of pairs, such as trl, or rankings."
            )
            raise SelectionError("ai", text % {"format": self.format})
        if self.ai == "only":
            for name in OF_PEOPLE_ONLY:
                if getattr(self, name) != getattr(Selection, name):
                    text = _("A judge's opinions have no %(name)s: take ai=with, or leave it out.")
                    raise SelectionError(name, text % {"name": name})

    @property
    def is_whole_snapshot(self) -> bool:
        """Whether it selects a snapshot's lines unchanged."""
        return replace(self, file="jsonl", counted=False, origin=False) == Selection(
            format="raw", gold="include", imported="include"
        )

    def values(self) -> dict[str, Any]:
        return asdict(self)


def _choice(parameters: Mapping[str, str], name: str, known: Iterable[str], default: str) -> Any:
    value = parameters.get(name)
    if value is None:
        return default or None
    if value not in known:
        raise SelectionError(
            name,
            _("%(value)s is none of: %(known)s.") % {"value": repr(value[:40]), "known": ", ".join(known)},
        )
    return value


def _votes(parameters: Mapping[str, str], format: str) -> str:
    votes: str = _choice(parameters, "votes", VOTES, "all")
    if votes != "all" and FORMATS[format].rows in ("raw", "duels", "prompts"):
        raise SelectionError("votes", _("The format %(format)s cannot pool votes.") % {"format": format})
    return votes


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    return bool(_choice(parameters, name, ("true", "false"), "false") == "true")


def _text(parameters: Mapping[str, str], name: str) -> str | None:
    value = parameters.get(name)
    if value is not None and ("\0" in value or not 0 < len(value) <= MAX_CHARS):
        raise SelectionError(
            name, _("Give 1 to %(most)s characters, without a null byte.") % {"most": MAX_CHARS}
        )
    return value


def _integer(parameters: Mapping[str, str], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise SelectionError(name, _("%(value)s is not a whole number.") % {"value": repr(value[:40])})
    return int(value)


def _fraction(parameters: Mapping[str, str], name: str) -> float | None:
    value = parameters.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?|\.[0-9]{1,9}", value):
        raise SelectionError(name, _("%(value)s is not a number from 0 to 1.") % {"value": repr(value[:40])})
    return float(value)


def _datetime(parameters: Mapping[str, str], name: str, *, end_of_day: bool = False) -> datetime | None:
    """A date is its start (UTC) or, with `end_of_day`, the start of the next day."""
    value = parameters.get(name)
    if value is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            day = date.fromisoformat(value) + timedelta(days=int(end_of_day))
            return datetime.combine(day, time(), UTC)
        at = datetime.fromisoformat(value.replace(" ", "+"))  # a + in an address is a space
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise SelectionError(
            name,
            _("%(value)s is not a date: give 2026-01-31 or 2026-01-31T12:00:00Z.")
            % {"value": repr(value[:40])},
        ) from None
