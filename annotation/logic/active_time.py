"""Active time: how long somebody worked, from when they opened and submitted items.

An item is worked on from when it came on the screen until it was submitted or skipped, by the server's clock; where a page could
only send it later, it says how much later (`device_times`). If that
took longer than `IDLE_AFTER_S`, only the last `IDLE_AFTER_S` before the submit count: the page was left open. Time in which
two items were open counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Generic, TypeVar

from annotation.logic.time_zones import DAY, day_start

IDLE_AFTER_S = 10 * 60
"""The longest time that counts for an item whose answers are ordered."""
IDLE_AFTER_WRITING_S = 30 * 60
"""The longest time that counts for an answer that is written."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval(Generic[Key]):
    """A time in which somebody worked on one item; `key` is what it is counted for: a project."""

    start: datetime
    end: datetime
    key: Key


def interval(end: datetime, seconds: float, key: Key, *, writes: bool = False) -> Interval[Key]:
    """The interval of an item that was submitted or skipped at `end`, `seconds` after it came on the screen."""
    longest = IDLE_AFTER_WRITING_S if writes else IDLE_AFTER_S
    counted = timedelta(seconds=min(max(seconds, 0.0), longest))
    return Interval(end.astimezone(UTC) - counted, end.astimezone(UTC), key)


def active_seconds(intervals: Iterable[Interval[Key]], zone: tzinfo) -> dict[tuple[date, Key], float]:
    """Active seconds by day in the zone and by key. Their sum is the length of the union of the intervals: where two overlap,
    the time counts for the one that began first. An interval over midnight is divided between the days."""
    seconds: dict[tuple[date, Key], float] = defaultdict(float)
    covered = datetime.min.replace(tzinfo=UTC)
    for piece in sorted(intervals, key=lambda piece: (piece.start, piece.end)):
        start = max(piece.start, covered)
        while start < piece.end:
            day = start.astimezone(zone).date()
            end = min(piece.end, day_start(day + DAY, zone))
            seconds[day, piece.key] += (end - start).total_seconds()
            start = end
        covered = max(covered, piece.end)
    return dict(seconds)
