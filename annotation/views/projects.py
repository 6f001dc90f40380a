"""New projects and project settings. The project's overview page is `training.views.overview`."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from annotation.access import Role, current_user, member_for, require_project_creator
from annotation.actions.projects import change_project, create_project
from annotation.forms.projects import NewProjectForm, ProjectForm

FIRST_GUIDELINE = gettext_lazy("""\
Prefer the answer that **helps the person more**.

1. It does everything that was asked.
2. What it says is true.
3. It is clear, and no longer than it needs to be.

Answers are tied when you would be as happy with either.
""")


@login_required
@require_http_methods(["GET", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    require_project_creator(current_user(request))
    form = NewProjectForm(request.POST or None, initial={"guideline": FIRST_GUIDELINE})
    if request.method == "POST" and form.is_valid():
        project = create_project(
            project=form.save(commit=False),
            guideline=form.cleaned_data["guideline"],
            creator=current_user(request),
        )
        messages.success(request, _("%(project)s is ready. Next, import prompts.") % {"project": project})
        return redirect(project)
    return render(request, "annotation/project_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def project_settings(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    project = me.project
    name = project.name
    form = ProjectForm(request.POST if request.method == "POST" else None, instance=project)
    if request.method == "POST" and form.is_valid():
        change_project(project=project, actor=current_user(request))
        messages.success(request, _("The settings are saved."))
        return redirect("project-settings", slug)
    project.name = name  # the heading keeps the stored name while the form has errors
    return render(
        request,
        "annotation/project_settings.html",
        {"me": me, "project": project, "form": form},
        status=422 if form.errors else 200,
    )
