"""What leads and reviewers see of the work: how it goes, how far people agree, who does it how, and what needs a look."""

from annotation.analytics.overview import (
    Median,
    answers,
    degrees,
    judgments_after,
    live_state,
    members_today,
    rate,
    skips_by_reason,
)

__all__ = [
    "Median",
    "answers",
    "degrees",
    "judgments_after",
    "live_state",
    "members_today",
    "rate",
    "skips_by_reason",
]
