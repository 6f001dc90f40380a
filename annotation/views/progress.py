"""How far the queue is, how fast it goes, and who is at it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import oversight
from annotation.access import Role, member_for


@login_required
@require_GET
def progress(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    days = oversight.pace(project)
    context = {
        "me": me,
        "project": project,
        "live": oversight.live_state(project),
        "days": days,
        "total_days": sum(day.judgments for day in days),
        "members": oversight.members_today(project),
        "skips": oversight.skips_by_reason(project),
    }
    return render(request, "annotation/progress.html", context)
