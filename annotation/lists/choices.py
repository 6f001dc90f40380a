"""Choices that several lists have: the project's people, tags and guideline versions. A query each."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from annotation.analytics.filter_choices import tags_of
from annotation.analytics.filters import PERIODS
from annotation.lists.definition import Text
from annotation.models import Guideline, Member, Project


def people(project: Project) -> Iterable[tuple[str, Text]]:
    names = Member.objects.filter(project=project).order_by("user__username")
    return [(name, name) for name in names.values_list("user__username", flat=True)]


def tags(project: Project) -> Iterable[tuple[str, Text]]:
    return [(tag, tag) for tag in tags_of(project)]


def versions(project: Project) -> Iterable[tuple[str, Text]]:
    numbers = Guideline.objects.filter(project=project).order_by("-number").values_list("number", flat=True)
    return [(str(number), _("Version %(number)s") % {"number": number}) for number in numbers]


def is_version(value: str) -> bool:
    """Whether it can be the number of a version."""
    return value.isdecimal() and len(value) < 8


def periods(_project: Project) -> Iterable[tuple[str, Text]]:
    return [(days, label) for days, label in PERIODS.items() if days]
