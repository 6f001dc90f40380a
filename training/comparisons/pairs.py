"""Two policies that are compared, the reward models that scored their answers, and what people preferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from annotation.models import Project
from annotation.models.judgments import is_current, is_excluded
from training.models import Comparison, ModelVersion

SHARE = "avg(CASE WHEN placed.rank < beside.rank THEN 1.0 WHEN placed.rank = beside.rank THEN 0.5 ELSE 0.0 END)::float8"
"""SQL: how often the response of `placed` was preferred to that of `beside`; a tie counts one half."""
JUDGED = f"""
FROM annotation_response AS mine
JOIN annotation_placement AS placed ON placed.response_id = mine.id
JOIN annotation_judgment AS judgment ON judgment.id = placed.judgment_id
JOIN annotation_placement AS beside ON beside.judgment_id = judgment.id
JOIN annotation_response AS other ON other.id = beside.response_id AND other.author_id = %(baseline)s
WHERE mine.author_id = %(policy)s AND judgment.slot_id IS NOT NULL AND {is_current()} AND NOT {is_excluded()}
"""
"""SQL: the judgments in which both policies have a response, each with the two placements."""
VOTES = f"""
SELECT mine.prompt_id, {SHARE} AS share, count(DISTINCT judgment.id) AS people {JUDGED}
"""
VOTES_BY_PROMPT = f"{VOTES} GROUP BY mine.prompt_id"


@dataclass(frozen=True)
class Pair:
    """A policy, and the baseline that it is compared with, of the same project."""

    policy: ModelVersion
    baseline: ModelVersion

    @property
    def project(self) -> Project:
        return self.policy.project

    @property
    def authors(self) -> dict[str, int]:
        """The parameters of the SQL above."""
        assert self.policy.author_id is not None
        assert self.baseline.author_id is not None
        return {"policy": self.policy.author_id, "baseline": self.baseline.author_id}

    def sign_of(self, comparison: Comparison) -> int:
        """1, or -1 where the comparison has the two the other way round."""
        return 1 if comparison.policy_id == self.policy.pk else -1

    def comparisons(self) -> list[Comparison]:
        """The newest comparison by each reward model, newest first."""
        both = (self.policy, self.baseline)
        found = Comparison.objects.filter(policy__in=both, baseline__in=both, run__superseded=False)
        by_scorer: dict[int, Comparison] = {}
        for comparison in found.select_related("scorer"):
            by_scorer.setdefault(comparison.scorer_id, comparison)
        return list(by_scorer.values())

    def votes(self, prompts: Sequence[int]) -> dict[int, tuple[float, int]]:
        """What people preferred, by prompt id: how often the policy's answer, and in how many judgments."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"{VOTES} AND mine.prompt_id = ANY(%(prompts)s) GROUP BY mine.prompt_id",
                self.authors | {"prompts": list(prompts)},
            )
            return {prompt: (share, people) for prompt, share, people in cursor.fetchall()}
