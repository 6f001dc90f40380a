"""Projects and their guidelines: creating them, changing settings, writing new versions."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.db import transaction
from django.forms.models import model_to_dict
from django.urls import reverse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import override

from annotation import audit
from annotation.actions import notifications, rules
from annotation.logic.markdown import render
from annotation.logic.questions import Question
from annotation.models import Guideline, Member, Notification, Project, QuestionSet, User

# the fields that a lead may change
SETTINGS = (
    *("name", "criterion", "task", "k", "asks_quality", "asks_flags", "asks_safety", "rationale", "images"),
    *(
        "overlap",
        "lease_minutes",
        "items_ahead",
        "gold_rate",
        "control_rate",
        "qualification_items",
        "qualification_accuracy",
    ),
)


@transaction.atomic
def create_project(*, project: Project, guideline: str, creator: User) -> Project:
    """Save a new project with version 1 of its guidelines, its creator as lead, and a rule that warns."""
    project.slug = project.slug or free_slug(project.name)
    project.save()
    Member.objects.create(project=project, user=creator, role=Member.Role.LEAD)
    audit.record("project.created", project=project, actor=creator, subject=project.name)
    write_guideline(project=project, text=guideline, author=creator)
    rules.add_default_rule(project)
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
    project.members.filter(user=author).update(confirmed_guideline=version)
    if latest:
        with override(settings.LANGUAGE_CODE):  # the same for all who are notified
            subject = _("Version %(number)s") % {"number": number}
        notifications.notify_roles(
            roles=[Member.Role.ANNOTATOR],
            kind=Notification.Kind.GUIDELINES,
            project=project,
            url=reverse("work-guidelines", args=[project.slug]),
            but=author,
            subject=subject,
        )
    return version


@transaction.atomic
def write_questions(*, project: Project, questions: Sequence[Question], author: User) -> QuestionSet | None:
    """Save the next version of a project's own questions; the same ones again change nothing. Items already given out ask the
    earlier ones. Returns the current version; None if there never was one."""
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    data = [question.as_data() for question in questions]
    current = locked.question_set
    if data == (current.questions if current else []):
        return current
    last = project.question_sets.order_by("-number").first()
    version = QuestionSet.objects.create(
        project=project, number=last.number + 1 if last else 1, questions=data, author=author
    )
    project.question_set = version
    project.save(update_fields=["question_set"])
    audit.record("questions.changed", project=project, actor=author, subject=f"Version {version.number}")
    return version


def confirm_guideline(*, member: Member, number: int) -> bool:
    """Note that a member has read a version of the guidelines. False if it is not the current one, which they get to read
    then."""
    current = member.project.guideline
    if current is None or current.number != number:
        return False
    member.confirmed_guideline = current
    member.save(update_fields=["confirmed_guideline"])
    return True
