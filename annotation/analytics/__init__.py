"""Statistics for leads and reviewers: progress, agreement, annotators, and items that need review."""

from annotation.analytics.overview import (
    Median,
    busiest_today,
    count_text,
    degrees,
    imported_count,
    judgment_rate,
    judgments_by_version,
    member_activity,
    new_judgment_count,
    queue_status,
    skips_by_reason,
    unanswered_prompt_count,
    unqueued_prompt_count,
)

__all__ = [
    "Median",
    "busiest_today",
    "count_text",
    "degrees",
    "imported_count",
    "judgment_rate",
    "judgments_by_version",
    "member_activity",
    "new_judgment_count",
    "queue_status",
    "skips_by_reason",
    "unanswered_prompt_count",
    "unqueued_prompt_count",
]
