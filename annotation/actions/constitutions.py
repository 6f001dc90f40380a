"""Constitutions: writing the next version of the principles that judges and revising models go by."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from annotation import audit
from annotation.logic.principles import Principle
from annotation.models import Constitution, Project, User


@transaction.atomic
def write_constitution(*, project: Project, principles: Sequence[Principle], author: User) -> Constitution:
    """Save the next version of the constitution; the same principles again change nothing. Earlier opinions keep their
    version."""
    # two editors get two numbers; `no_key`, so as not to wait for an import
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    data = [principle.as_data() for principle in principles]
    latest = project.constitutions.first()
    if latest and latest.principles == data:
        return latest
    number = latest.number + 1 if latest else 1
    version = Constitution.objects.create(project=project, number=number, principles=data, author=author)
    audit.record("constitution.changed", project=project, actor=author, subject=f"Version {number}")
    return version
