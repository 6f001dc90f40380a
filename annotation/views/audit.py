"""Audit trail page of a project."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.audit import THE_SITE, VERBS, audit_entries
from annotation.models import AuditEntry, User
from annotation.views.long_lists import LongList

PAGE = 50


@login_required
@require_GET
def audit(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    who, verb = request.GET.get("who", "").replace("\0", ""), request.GET.get("verb", "")
    context = {
        "me": me,
        "project": project,
        "page": LongList(audit_entries(project, actor=who, verb=verb), PAGE).get_page(
            request.GET.get("page")
        ),
        "who": who,
        "verb": verb,
        "the_site": THE_SITE,
        "actors": User.objects.filter(
            pk__in=AuditEntry.objects.filter(project=project).values("actor")
        ).order_by("username"),
        "verbs": VERBS,
    }
    return render(request, "annotation/audit.html", context)
