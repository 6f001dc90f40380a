"""Constitution pages: the principles that judges go by, their versions, and the differences between two of these."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from annotation.access import Role, current_user, member_for
from annotation.actions.constitutions import write_constitution
from annotation.forms.constitutions import PrincipleFormSet, initial_of
from annotation.logic import diff
from annotation.logic.principles import STARTING_PRINCIPLES, Principle, as_text, stored_principles
from annotation.models import Constitution


@login_required
@require_http_methods(["GET", "POST"])
def constitutions(request: HttpRequest, slug: str) -> HttpResponse:
    """The editor of a lead; the current version for reviewers."""
    me = member_for(request.user, slug, Role.LEAD, *([] if request.method == "POST" else [Role.REVIEWER]))
    versions = list(me.project.constitutions.select_related("author"))
    current = stored_principles(versions[0].principles) if versions else []
    if request.method == "POST":
        formset = PrincipleFormSet(request.POST)
    else:
        formset = PrincipleFormSet(initial=initial_of(current or list(STARTING_PRINCIPLES)))
    if formset.is_bound and formset.is_valid():
        version = write_constitution(
            project=me.project, principles=formset.principles, author=current_user(request)
        )
        number = {"number": version.number}
        if versions and version == versions[0]:
            messages.info(request, _("No changes: version %(number)s is still the current one.") % number)
        else:
            messages.success(request, _("Saved as version %(number)s.") % number)
        return redirect("constitutions", slug)
    context = {
        "me": me,
        "project": me.project,
        "formset": formset,
        "principles": current,
        "versions": versions,
    }
    return render(request, "annotation/constitutions.html", context, status=422 if formset.is_bound else 200)


@login_required
@require_GET
def constitution(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version, for leads and reviewers."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    version = get_object_or_404(me.project.constitutions.select_related("author"), number=number)
    context = {"me": me, "project": me.project, "version": version, "principles": _principles(version)}
    return render(request, "annotation/constitution.html", context)


@login_required
@require_GET
def constitution_diff(request: HttpRequest, slug: str, older: int, newer: int) -> HttpResponse:
    """The differences between two versions, for leads and reviewers."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    before, after = (
        get_object_or_404(me.project.constitutions.select_related("author"), number=number)
        for number in sorted([older, newer])
    )
    context = {
        "me": me,
        "project": me.project,
        "before": before,
        "after": after,
        "lines": diff.lines(as_text(_principles(before)), as_text(_principles(after))),
        "numbers": me.project.constitutions.values_list("number", flat=True),
    }
    return render(request, "annotation/constitution_diff.html", context)


def _principles(version: Constitution) -> list[Principle]:
    return stored_principles(version.principles)
