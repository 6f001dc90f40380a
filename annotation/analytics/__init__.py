"""Statistics for leads and reviewers: progress, agreement, annotators, and items that need review."""

from annotation.analytics.overview import (
    Median,
    degrees,
    imported_count,
    judgment_rate,
    member_activity,
    new_judgment_count,
    queue_status,
    response_count,
    skips_by_reason,
)

__all__ = [
    "Median",
    "degrees",
    "imported_count",
    "judgment_rate",
    "member_activity",
    "new_judgment_count",
    "queue_status",
    "response_count",
    "skips_by_reason",
]
