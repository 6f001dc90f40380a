"""What is asked of an export: a format, and which judgments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from annotation.exports.formats import FORMATS

VOTES = {
    "all": "Every judgment speaks for itself.",
    "majority": "One answer of an item stands above another where more people say so than the opposite.",
    "bradley-terry": "An item's answers stand in the order of their Bradley-Terry strengths.",
    "unanimous": "Only what everybody says who judged the item.",
}
FILES = {"jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
GOLD = ("exclude", "include", "only")
SPLITS = ("train", "held_out")
ACCOUNTS = ("person", "machine")
LONGEST = 200


class SelectionError(ValueError):
    """What is wrong with a parameter, in a sentence; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Selection:
    """One export. Left out, a filter lets everything through; `gold` defaults by the format (`of` says how)."""

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
    counted: bool = False

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Selection:
        """From the parameters of an address.

        Raises:
            SelectionError: one of them is unknown or has no such value.
        """
        if unknown := set(given) - {field.name for field in fields(cls)}:
            name = min(unknown)
            raise SelectionError(name[:40], f"There is no parameter {name[:40]!r}.")
        format = _one_of(given, "format", FORMATS, "trl")
        return cls(
            format=format,
            file=_one_of(given, "file", FILES, "jsonl"),
            votes=_votes(given, format),
            origin=_yes(given, "origin"),
            split=_one_of(given, "split", SPLITS, ""),
            tag=_text(given, "tag"),
            annotator=_text(given, "annotator"),
            account=_one_of(given, "account", ACCOUNTS, ""),
            model=_text(given, "model"),
            guideline=_whole(given, "guideline"),
            round=_whole(given, "round"),
            since=_moment(given, "since"),
            until=_moment(given, "until", end_of_day=True),
            agreement=_share(given, "agreement"),
            control=_yes(given, "control"),
            gold=_one_of(given, "gold", GOLD, "exclude" if FORMATS[format].trains else "include"),
            counted=_yes(given, "counted"),
        )

    @property
    def is_everything(self) -> bool:
        """Whether it is all that a snapshot holds, as it stands there."""
        return replace(self, file="jsonl", counted=False, origin=False) == Selection(
            format="raw", gold="include"
        )

    def values(self) -> dict[str, Any]:
        return asdict(self)


def _one_of(given: Mapping[str, str], name: str, known: Iterable[str], default: str) -> Any:
    value = given.get(name)
    if value is None:
        return default or None
    if value not in known:
        raise SelectionError(name, f"{value[:40]!r} is none of: {', '.join(known)}.")
    return value


def _votes(given: Mapping[str, str], format: str) -> str:
    votes: str = _one_of(given, "votes", VOTES, "all")
    if votes != "all" and FORMATS[format].rows in ("raw", "duels", "prompts"):
        raise SelectionError("votes", f"The format {format} has everybody's votes as they are.")
    return votes


def _yes(given: Mapping[str, str], name: str) -> bool:
    return bool(_one_of(given, name, ("true", "false"), "false") == "true")


def _text(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name)
    if value is not None and ("\0" in value or not 0 < len(value) <= LONGEST):
        raise SelectionError(name, f"Give 1 to {LONGEST} characters, without a null byte.")
    return value


def _whole(given: Mapping[str, str], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise SelectionError(name, f"{value[:40]!r} is no whole number.")
    return int(value)


def _share(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?|\.[0-9]{1,9}", value):
        raise SelectionError(name, f"{value[:40]!r} is no number from 0 to 1.")
    return float(value)


def _moment(given: Mapping[str, str], name: str, *, end_of_day: bool = False) -> datetime | None:
    """A date is its first moment (UTC) or, with `end_of_day`, the first one after it."""
    value = given.get(name)
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
            name, f"{value[:40]!r} is no date: give 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from None
