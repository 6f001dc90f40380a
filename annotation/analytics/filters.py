"""Filters of the analytics pages, read from the query string: period, annotator, tag, guideline version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotation.models import Project, User

PERIODS = {
    "1": _("Today and yesterday"),
    "7": _("7 days"),
    "30": _("30 days"),
    "90": _("90 days"),
    "": _("All time"),
}


@dataclass(frozen=True)
class Filters:
    """Which judgments a statistic covers. `since` follows from `days`, unless a caller sets it."""

    days: int | None = None
    annotator: User | None = None
    tag: str = ""
    version: int | None = None
    since: datetime | None = None

    @classmethod
    def read(cls, query: Mapping[str, str], project: Project) -> Filters:
        """From a query string. Unknown values are ignored."""
        days = int(query["days"]) if query.get("days") and query["days"] in PERIODS else None
        version = query.get("version", "")
        known = version.isdecimal() and len(version) < 8
        person = query.get("annotator", "")
        return cls(
            days=days,
            annotator=User.objects.filter(username=person, memberships__project=project).first()
            if person and "\0" not in person
            else None,
            tag=query.get("tag", "").replace("\0", "")[:60],
            version=int(version) if known else None,
            since=timezone.now() - timedelta(days=days) if days else None,
        )

    @property
    def is_active(self) -> bool:
        return bool(self.query)

    @property
    def query(self) -> str:
        """The query string that `read` turns back into these filters."""
        named = {
            "days": self.days,
            "annotator": self.annotator.username if self.annotator else None,
            "tag": self.tag,
            "version": self.version,
        }
        return urlencode({name: value for name, value in named.items() if value})

    def where(self) -> tuple[str, dict[str, Any]]:
        """SQL conditions on `judgment` and `item`, each beginning with AND, and their parameters. Without the annotator, since
        agreement needs the judgments of the others too."""
        clauses, values = [], dict[str, Any]()
        if self.since:
            clauses.append("AND judgment.created_at >= %(since)s")
            values["since"] = self.since
        if self.tag:
            clauses.append(
                "AND item.prompt_id IN (SELECT id FROM annotation_prompt"
                " WHERE project_id = %(project)s AND %(tag)s = ANY(tags))"
            )
            values["tag"] = self.tag
        if self.version is not None:
            clauses.append(
                "AND judgment.guideline_id IN (SELECT id FROM annotation_guideline"
                " WHERE project_id = %(project)s AND number = %(version)s)"
            )
            values["version"] = self.version
        return " ".join(clauses), values

    def where_annotator(self) -> tuple[str, dict[str, Any]]:
        """`where`, restricted to the judgments of the annotator if one is selected."""
        clauses, values = self.where()
        if self.annotator:
            clauses += " AND judgment.annotator_id = %(annotator)s"
            values["annotator"] = self.annotator.pk
        return clauses, values


NO_FILTERS = Filters()
