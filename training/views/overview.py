"""A project's landing page for its lead: the queue, the loop and the next step."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import analytics
from annotation.access import Role, member_for
from annotation.analytics.outlook import outlook
from annotation.models import Member
from annotation.queries import progress as count_progress
from training.rounds.checklist import checklist
from training.rounds.next_step import loop_status, next_step
from training.runs.queries import runs_of

RECENT_RUNS = 5


@login_required
@require_GET
def project(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/overview.html", _context(me))


@login_required
@require_GET
def project_loop(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that is refreshed after an event in the project."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render(request, "training/overview.html#loop", _context(me))


def _context(me: Member) -> dict[str, Any]:
    project = me.project
    progress = count_progress(project)
    members = analytics.busiest_today(project)
    ahead = outlook(project, progress)
    status = loop_status(project, progress, [member for member, _ in members], ahead)
    guideline = project.guidelines.defer("text", "html").order_by("-number").first()
    steps = checklist(status, has_guidelines=guideline is not None, members=len(members))
    return {
        "me": me,
        "project": project,
        "queue": analytics.queue_status(project, progress, ahead),
        "loop": status,
        "next": next_step(status),
        "checklist": steps if me.role == Role.LEAD else [],
        "runs": runs_of(project)[:RECENT_RUNS],
        "guideline": guideline,
        "members": members[:6],
        "member_count": len(members),
    }
