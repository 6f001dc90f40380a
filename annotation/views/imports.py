"""Bringing prompts in, with or without answers: a file is taken whole or not at all."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from annotation.access import Role, member_for
from annotation.actions.intake import MAX_ERRORS, ImportReport, import_lines
from annotation.forms import ImportForm
from annotation.views import HtmxRequest


@login_required
@require_http_methods(["GET", "POST"])
def import_file(request: HtmxRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    project = me.project
    form = ImportForm(*((request.POST, request.FILES) if request.method == "POST" else ()))
    report: ImportReport | None = None
    if request.method == "POST" and form.is_valid():
        # an uploaded file gives its lines as they are read: large ones lie on the disk meanwhile
        report = import_lines(project=project, lines=form.cleaned_data["file"])
    context = {
        "me": me,
        "project": project,
        "form": form,
        "report": report,
        "file_name": form.cleaned_data["file"].name if report else "",
        "more_errors": report is not None and len(report.errors) >= MAX_ERRORS,
        "prompts": project.prompts.count(),
        "unanswered": project.prompts.filter(responses=None).count(),
    }
    wrong = form.errors or (report and report.errors)
    template = "annotation/import.html#page" if request.htmx else "annotation/import.html"
    return render(request, template, context, status=422 if wrong else 200)
