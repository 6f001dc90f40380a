"""The options of the filter form of the analytics pages."""

from __future__ import annotations

from typing import Any

from django.db import connection

from annotation.analytics.figures import counted_or_none, figure
from annotation.analytics.filters import NO_FILTERS, PERIODS, Filters
from annotation.models import Guideline, Member, Project

TAGS = """
SELECT DISTINCT unnest(tags) AS tag FROM annotation_prompt WHERE project_id = %(project)s ORDER BY tag LIMIT 200
"""


def filter_choices(project: Project) -> dict[str, Any]:
    """The options of the filter form; no tags until a worker has listed those of a large project. Four queries."""
    return {
        "periods": PERIODS,
        "people": list(
            Member.objects.filter(project=project)
            .order_by("user__username")
            .values_list("user__username", flat=True)
        ),
        "tags": tags_of(project),
        "versions": list(
            Guideline.objects.filter(project=project).order_by("-number").values_list("number", flat=True)
        ),
    }


def tags_of(project: Project) -> list[str]:
    """The first 200 tags of the project's prompts; none until a worker has listed those of a large project."""
    return counted_or_none(project, lambda: _tags(project, NO_FILTERS)) or []


@figure
def _tags(project: Project, _filters: Filters) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(TAGS, {"project": project.pk})
        return [tag for (tag,) in cursor.fetchall()]
