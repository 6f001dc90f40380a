"""Where an item goes when people skip it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RESTRICTED, RETIRED = "restricted", "retired"


@dataclass(frozen=True)
class Step:
    """After `skips` skips for one reason, the item is left to reviewers, or to nobody (`to`)."""

    skips: int
    to: str


ROUTES: Mapping[str, tuple[Step, ...]] = {
    "unsafe": (Step(1, RESTRICTED), Step(3, RETIRED)),
    "review": (Step(1, RESTRICTED),),
    "identical": (Step(2, RETIRED),),
    "broken": (Step(2, RETIRED),),
    "all_bad": (Step(2, RESTRICTED), Step(4, RETIRED)),
    "cannot_judge": (Step(3, RESTRICTED), Step(6, RETIRED)),
}


@dataclass(frozen=True)
class Route:
    """Where an item goes, and the reason that took it there."""

    to: str
    reason: str
    skips: int


def route(skips: Mapping[str, int]) -> Route | None:
    """Where an item goes that was skipped so often for each reason; None where it stays. Retired wins over restricted."""
    reached = [
        Route(step.to, reason, count)
        for reason, count in skips.items()
        for step in ROUTES.get(reason, ())
        if count >= step.skips
    ]
    return min(reached, key=lambda one: one.to != RETIRED, default=None)
