"""Agreement on what is entered for an answer beside its rank: quality, safety, and the project's own ratings and flags."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from django.db import connection

from annotation.analytics.agreement import BLOCKS
from annotation.analytics.figures import figure
from annotation.analytics.filters import Filters
from annotation.logic import agreement
from annotation.logic.agreement import Interval
from annotation.models import Project
from annotation.models.judgments import is_current

# The values that each answer of an item was given under each name, and how many answers of a block were given the same.
# A flag is 2 where it is set and 1 where it was asked for and is not.
VALUES = f"""
SELECT name, block, given, count(*) FROM (
    SELECT rating.name, judgment.item_id %% {BLOCKS} AS block, array_agg(rating.value ORDER BY rating.value) AS given
    FROM annotation_judgment AS judgment
    JOIN annotation_item AS item ON item.id = judgment.item_id
    JOIN annotation_placement AS placement ON placement.judgment_id = judgment.id
    LEFT JOIN annotation_questionset AS question_set ON question_set.id = judgment.question_set_id
    CROSS JOIN LATERAL (
        SELECT 'quality' AS name, placement.quality::int AS value
        UNION ALL SELECT 'safety', placement.safe::int + 1
        UNION ALL SELECT question ->> 'key',
            CASE question ->> 'kind'
                WHEN 'rating' THEN (placement.criteria ->> (question ->> 'key'))::int
                WHEN 'flag' THEN (question ->> 'key' = ANY (placement.flags))::int + 1 END
        FROM jsonb_array_elements(question_set.questions) AS question) AS rating
    WHERE item.project_id = %(project)s AND item.gold IS NULL AND judgment.slot_id IS NOT NULL
      AND rating.value IS NOT NULL AND {is_current()} {{where}}
    GROUP BY rating.name, judgment.item_id, placement.response_id HAVING count(*) > 1) AS answers
GROUP BY name, block, given
"""


@dataclass(frozen=True)
class RatingAgreement:
    """Agreement on one rating or flag.

    Attributes:
        name: quality, safety, or the key of one of the project's own questions.
        alpha: Krippendorff's, ordinal; None if everybody gave the same value.
        same: of the pairs of annotators of an answer, those who gave it the same value.
        answers: that two or more rated.
    """

    name: str
    alpha: Interval | None
    same: float
    answers: int


@figure
def rating_agreement(project: Project, filters: Filters) -> list[RatingAgreement]:
    """Of all that two people were asked of the same answers, by name; of earlier versions of the project's own questions, too.
    One query."""
    where, values = filters.where()
    units: dict[str, dict[int, list[tuple[list[int], int]]]] = defaultdict(lambda: defaultdict(list))
    with connection.cursor() as cursor:
        cursor.execute(VALUES.format(where=where), values | {"project": project.pk})
        for name, block, given, times in cursor.fetchall():
            units[name][block].append((given, times))
    return [_measure(name, blocks) for name, blocks in sorted(units.items())]


def _measure(name: str, blocks: dict[int, list[tuple[list[int], int]]]) -> RatingAgreement:
    tables = {block: agreement.coincidences(units) for block, units in blocks.items()}
    units = [unit for block in blocks.values() for unit in block]
    same = sum(times * n * (n - 1) for given, times in units for n in Counter(given).values())
    return RatingAgreement(
        name=name,
        alpha=agreement.alpha_interval(tables, level="ordinal"),
        same=same / sum(times * len(given) * (len(given) - 1) for given, times in units),
        answers=sum(times for _, times in units),
    )
