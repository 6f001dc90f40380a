"""What a new round finds in the queue and adds to it, in sentences for its form."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation import analytics
from annotation.analytics.overview import MANY, count_text
from annotation.logic.translation import format_number
from annotation.models import Candidate, Project, Slot
from annotation.queries import progress
from training.models import ModelVersion
from training.rounds.settings import RoundSettings


def describe_queue(
    projects: Sequence[Project], settings: RoundSettings, policy: ModelVersion | None
) -> list[str]:
    """Whether the judgments that are there or left in the queue are enough for a round with these settings, so that it uses
    them first, and what it adds. Nothing without a policy."""
    if policy is None:
        return []
    left = sum(progress(project).left for project in projects)
    new = sum(
        analytics.new_judgment_count(project, project.snapshots.first(), at_most=settings.judgments)
        for project in projects
    )
    values = {
        "left": format_number(left),
        "own": count_text(_left_on_answers_of(policy, projects)),
        "new": format_number(new),
        "needed": format_number(settings.judgments),
        "all": format_number(left + new),
        "budget": format_number(settings.budget),
        "policy": policy,
    }
    found = ngettext(
        "The queue has %(left)s judgment left (on answers of %(policy)s, the current policy: %(own)s), beside %(new)s since"
        " the last snapshot.",
        "The queue has %(left)s judgments left (on answers of %(policy)s, the current policy: %(own)s), beside %(new)s since"
        " the last snapshot.",
        left,
    )
    texts = [found]
    if left + new < settings.judgments and settings.budget:
        texts.append(
            _(
                "The round waits for %(needed)s: before, it sends annotators new answers of %(policy)s, for %(budget)s judgments."
            )
        )
    elif left + new < settings.judgments:
        texts.append(
            _("The round waits for %(needed)s, or until these are judged: with a budget of 0 it adds none.")
        )
    else:
        texts.append(
            _("The round waits for %(needed)s: it uses these first, and generates no answers before.")
        )
        if left + new > settings.judgments:
            texts.append(_("To use them all, have it wait for %(all)s."))
    if settings.budget:
        texts.append(
            _(
                "At its end it adds items for %(budget)s judgments, on answers of the policy that is current then; annotators get"
                " these before what is left, as a policy learns most from judgments of its own answers. A budget of 0 adds none."
            )
        )
    return [text % values for text in texts]


def _left_on_answers_of(policy: ModelVersion, projects: Sequence[Project]) -> int:
    """How many of the judgments that are left compare answers of a policy; it stops at `MANY`."""
    own = Candidate.objects.filter(item=OuterRef("item"), response__author=policy.author_id)
    slots = Slot.objects.filter(Exists(own), project__in=projects, gold=False, chat=False)
    return slots.exclude(state=Slot.State.DONE)[:MANY].count()
