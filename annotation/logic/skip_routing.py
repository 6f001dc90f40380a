"""Where an item goes when annotators skip it: how many skips, and for which reason, restrict or retire it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RESTRICTED, RETIRED = "restricted", "retired"


@dataclass(frozen=True)
class SkipRule:
    """After so many skips for one reason, the item's state is `restricted` (to reviewers) or `retired`."""

    skips: int
    state: str


RULES: Mapping[str, tuple[SkipRule, ...]] = {
    "unsafe": (SkipRule(1, RESTRICTED), SkipRule(3, RETIRED)),
    "review": (SkipRule(1, RESTRICTED),),
    "identical": (SkipRule(2, RETIRED),),
    "broken": (SkipRule(2, RETIRED),),
    "all_bad": (SkipRule(2, RESTRICTED), SkipRule(4, RETIRED)),
    "cannot_judge": (SkipRule(3, RESTRICTED), SkipRule(6, RETIRED)),
}


@dataclass(frozen=True)
class SkipRouting:
    """An item's new state, with the reason for it and how many skips gave that reason."""

    state: str
    reason: str
    skips: int


def route(skips: Mapping[str, int]) -> SkipRouting | None:
    """The routing of an item with so many skips by reason; None if it stays as it is. Retired wins over restricted."""
    reached = [
        SkipRouting(rule.state, reason, count)
        for reason, count in skips.items()
        for rule in RULES.get(reason, ())
        if count >= rule.skips
    ]
    return min(reached, key=lambda routing: routing.state != RETIRED, default=None)
