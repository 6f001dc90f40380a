"""How long judgments that are left will take the people who judge now, with an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, sqrt

from annotation.logic.agreement import Z_95

ENOUGH = 5
"""Judgments from which a pace is told."""


@dataclass(frozen=True)
class Worker:
    """Somebody who judges now.

    Attributes:
        judgments: in the last hour, of what is in the queue.
        minutes: since the beginning of the first of them.
        recent: judgments in the last 15 minutes, with those of gold items and live chats.
        only_chats: they take nothing from the queue.
    """

    name: str
    judgments: int
    minutes: float
    recent: int = 0
    only_chats: bool = False


@dataclass(frozen=True)
class TimeLeft:
    """Seconds: the estimate, and the ends of its 95% interval."""

    seconds: float
    low: float
    high: float


def pace(workers: Iterable[Worker]) -> float:
    """Judgments an hour of all of them together, each since they began."""
    return sum(60 * worker.judgments / max(worker.minutes, 1.0) for worker in workers)


def time_left(left: int, workers: Iterable[Worker]) -> TimeLeft | None:
    """How long `left` judgments take, if these people go on as they do; None for none, or where too few were made to tell.

    The pace is counted on n judgments, and what is left takes its own chance: the logarithm of the time has about the variance
    1/n + 1/left, as the ratio of two gamma variables.
    """
    workers = list(workers)
    made = sum(worker.judgments for worker in workers)
    if left <= 0 or made < ENOUGH:
        return None
    seconds = 3600 * left / pace(workers)
    factor = exp(Z_95 * sqrt(1 / made + 1 / left))
    return TimeLeft(seconds, seconds / factor, seconds * factor)
