"""Projects and their guidelines: creating them, changing settings, writing new versions."""

from __future__ import annotations

from django.db import transaction
from django.forms.models import model_to_dict
from django.urls import reverse
from django.utils.text import slugify

from annotation import audit
from annotation.actions import notifications
from annotation.logic.markdown import render
from annotation.models import Guideline, Member, Notification, Project, User

# the fields that a lead may change
SETTINGS = (
    *("name", "criterion", "task", "k", "asks_quality", "asks_flags", "asks_safety", "rationale"),
    *(
        "overlap",
        "lease_minutes",
        "gold_rate",
        "control_rate",
        "qualification_items",
        "qualification_accuracy",
    ),
)


@transaction.atomic
def create_project(*, project: Project, guideline: str, creator: User) -> Project:
    """Save a new project with version 1 of its guidelines and its creator as lead."""
    project.slug = project.slug or free_slug(project.name)
    project.save()
    Member.objects.create(project=project, user=creator, role=Member.Role.LEAD)
    audit.record("project.created", project=project, actor=creator, subject=project.name)
    write_guideline(project=project, text=guideline, author=creator)
    return project


@transaction.atomic
def change_project(*, project: Project, actor: User) -> None:
    """Save a project's settings, and record the changes."""
    before = model_to_dict(Project.objects.get(pk=project.pk))
    project.save()
    after = model_to_dict(project)
    changed = [name for name in after if after[name] != before[name]]
    if changed:
        audit.record(
            "project.changed",
            project=project,
            actor=actor,
            subject=project.name,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )


def free_slug(name: str) -> str:
    """An unused slug for a project's name."""
    base = slugify(name)[:50] or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    numbered = (f"{base}-{n}" for n in range(2, len(taken) + 3))
    return base if base not in taken else next(slug for slug in numbered if slug not in taken)


@transaction.atomic
def write_guideline(*, project: Project, text: str, author: User) -> Guideline:
    """Save the next version of the guidelines; the same text again changes nothing. Earlier judgments keep their version."""
    # two editors get two numbers; `no_key`, so as not to wait for an import
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    latest = project.guideline
    if latest and latest.text == text:
        return latest
    number = latest.number + 1 if latest else 1
    version = Guideline.objects.create(
        project=project, number=number, text=text, html=render(text), author=author
    )
    audit.record("guidelines.changed", project=project, actor=author, subject=f"Version {number}")
    if latest:
        notifications.notify_roles(
            roles=[Member.Role.ANNOTATOR],
            kind=Notification.Kind.GUIDELINES,
            project=project,
            url=reverse("work-guidelines", args=[project.slug]),
            but=author,
            subject=f"Version {number}",
        )
    return version
