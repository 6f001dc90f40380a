"""Guidelines pages: edit, preview, versions and their differences."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for
from annotation.actions.projects import write_guideline
from annotation.analytics import judgments_by_version
from annotation.analytics.figures import counted_or_none
from annotation.analytics.filters import NO_FILTERS
from annotation.forms.projects import GuidelineForm
from annotation.http.images import allow_images
from annotation.logic import diff, markdown
from annotation.logic.limits import MAX_TEXT_CHARS
from annotation.models import Guideline, Member, Project


@login_required
@require_http_methods(["GET", "POST"])
def guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    project = me.project
    current = project.guideline
    form = GuidelineForm(
        request.POST if request.method == "POST" else None, initial={"text": current.text if current else ""}
    )
    if request.method == "POST" and form.is_valid():
        version = write_guideline(
            project=project, text=form.cleaned_data["text"], author=current_user(request)
        )
        number = {"number": version.number}
        if current and version.number == current.number:
            messages.info(request, _("No changes: version %(number)s is still the current one.") % number)
        else:
            messages.success(request, _("Version %(number)s applies from the next item.") % number)
        return redirect("guidelines", slug)
    context = {
        "me": me,
        "project": project,
        "form": form,
        "current": current,
        "versions": _versions(project),
        "members": project.members.count(),
    }
    return render(request, "annotation/guidelines.html", context, status=422 if form.errors else 200)


def _versions(project: Project) -> list[tuple[Guideline, int | None]]:
    """Newest first: each, annotated with the number of members who confirmed it last, and its number of judgments, which is
    None while a worker counts them."""
    judgments = counted_or_none(project, lambda: judgments_by_version(project, NO_FILTERS))
    members = (
        Member.objects.filter(confirmed_guideline=OuterRef("pk")).order_by().values("confirmed_guideline")
    )
    confirmed = Coalesce(Subquery(members.annotate(n=Count("id")).values("n")), 0)
    versions = project.guidelines.select_related("author").annotate(confirmed=confirmed).order_by("-number")
    return [(version, None if judgments is None else judgments.get(version.pk, 0)) for version in versions]


@login_required
@require_GET
def guideline(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version. Every member may read the guidelines of their judgments."""
    me = member_for(request.user, slug)
    version = get_object_or_404(me.project.guidelines.select_related("author"), number=number)
    context = {"me": me, "project": me.project, "version": version}
    return allow_images(render(request, "annotation/guideline.html", context), me.project)


@login_required
@require_GET
def guideline_diff(request: HttpRequest, slug: str, older: int, newer: int) -> HttpResponse:
    """The differences between two versions, for every member."""
    me = member_for(request.user, slug)
    numbers = sorted([older, newer])
    before, after = (
        get_object_or_404(me.project.guidelines.select_related("author"), number=number) for number in numbers
    )
    context = {
        "me": me,
        "project": me.project,
        "before": before,
        "after": after,
        "lines": diff.lines(before.text, after.text),
        "numbers": me.project.guidelines.order_by("-number").values_list("number", flat=True),
    }
    return render(request, "annotation/guideline_diff.html", context)


@login_required
@require_POST
def markdown_preview(request: HttpRequest) -> HttpResponse:
    """Rendered Markdown, for forms with guidelines."""
    text = request.POST.get("text") or request.POST.get("guideline") or ""
    html = markdown.render(text[:MAX_TEXT_CHARS])
    return render(request, "annotation/guidelines.html#preview", {"html": html})
