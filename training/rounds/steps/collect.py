"""Collecting judgments, and freezing them into the round's snapshots."""

from __future__ import annotations

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation import analytics
from annotation.actions import snapshots
from annotation.analytics.outlook import joint_outlook
from annotation.logic.translation import format_number
from annotation.models import Project, Snapshot
from annotation.queries import progress
from training.models import Round
from training.rounds.notices import notify_of_empty_queue
from training.rounds.settings import settings_of
from training.rounds.steps.base import ADVANCE, WAIT, Awaited, Step, StepResult


def count_new_judgments(round: Round) -> int:
    """Judgments since the last snapshots of the loop's projects, of each no more than the round needs. Those of live chats count;
    the better answers that are written there in addition do not."""
    needed = settings_of(round).judgments
    return sum(
        analytics.new_judgment_count(
            project,
            project.snapshots.first(),
            at_most=needed,
            with_written=project.task != Project.Task.PREFERENCES,
        )
        for project in round.loop.projects
    )


class Collect(Step):
    name = "collect"
    title = gettext_noop("Collect judgments")
    help = gettext_noop("Waits until there are enough new judgments, or the queue is empty.")
    does = "collect"
    can_retry = False
    waits_for_people = True
    report_keys = ("queue_is_empty",)

    def check(self, round: Round) -> StepResult:
        new = count_new_judgments(round)
        pending = sum(progress(project).left for project in round.loop.projects)
        if new >= settings_of(round).judgments or (new and not pending):
            return ADVANCE
        self._report_empty_queue(round, is_empty=not pending)
        return WAIT

    @staticmethod
    def _report_empty_queue(round: Round, *, is_empty: bool) -> None:
        """Tell the leads once, until something comes into the queue: a round is looked at every few seconds."""
        if is_empty == ("queue_is_empty" in round.report):
            return
        if is_empty:
            round.report["queue_is_empty"] = timezone.now().isoformat()
        else:
            del round.report["queue_is_empty"]
        round.save(update_fields=["report"])
        if is_empty:
            notify_of_empty_queue(round)

    def awaits(self, round: Round) -> Awaited:
        needed, new = settings_of(round).judgments, count_new_judgments(round)
        ahead = joint_outlook(round.loop.projects, at_most=max(0, needed - new))
        values = {"new": format_number(new), "needed": format_number(needed), "ahead": ahead.sentence}
        if not ahead.left and not new:
            text = _("There is nothing in the queue to judge, and no new judgment.")
        elif not ahead.left:
            text = _("New judgments: %(new)s of %(needed)s. It goes on within seconds.")
        elif ahead.left < needed - new:
            text = _("New judgments: %(new)s of %(needed)s, or as many as the queue has. %(ahead)s")
        else:
            text = _("New judgments: %(new)s of %(needed)s. %(ahead)s")
        return Awaited(text % values, people=True, needs_people=ahead.needs_people)


class Freeze(Step):
    name = "freeze"
    title = gettext_noop("Create a snapshot")
    help = gettext_noop("Copies the judgments so far into an immutable file.")
    does = "freeze"

    def check(self, round: Round) -> StepResult:
        creator = round.created_by or round.loop.created_by
        imported = settings_of(round).imported
        for field, project in zip(("snapshot", "safety_snapshot"), round.loop.projects, strict=False):
            latest = project.snapshots.first()
            if latest is None or self._is_outdated(project, latest, imported=imported):
                latest = snapshots.create_snapshot(
                    project=project,
                    creator=creator,
                    note=_("%(loop)s, round %(number)s") % {"loop": round.loop, "number": round.number},
                    imported=imported,
                )
            setattr(round, field, latest)
        round.save(update_fields=["snapshot", "safety_snapshot"])
        return ADVANCE

    @staticmethod
    def _is_outdated(project: Project, snapshot: Snapshot, *, imported: bool) -> bool:
        """Whether there are judgments that it does not have, or some that it should not have."""
        if analytics.new_judgment_count(project, snapshot, at_most=1):
            return True
        if snapshot.manifest.get("excluded", []) != snapshots.excluded_annotators(project):
            return True
        if not imported:
            return bool(snapshot.counts.get("imported"))
        return bool(analytics.imported_count(project, snapshot))
