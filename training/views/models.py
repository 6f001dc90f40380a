"""The registry: model versions, where they come from, and which of them are current."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.http.streaming import stream_response
from training import metric_labels
from training.errors import RunError
from training.models import ModelVersion, Run
from training.registry import model_archive, queries
from training.registry.actions import add_model, promote, retire
from training.registry.lineage import draw
from training.registry.model_card import card
from training.rounds.leaderboard import rate_policies
from training.runs.forms import AddModelForm, RunForm


@login_required
@require_http_methods(["GET", "POST"])
def models(request: HttpRequest, slug: str) -> HttpResponse:
    roles = (Role.LEAD,) if request.method == "POST" else (Role.LEAD, Role.REVIEWER)
    me = member_for(request.user, slug, *roles)
    form = AddModelForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            version = add_model(project=me.project, **form.cleaned_data)
        except RunError as error:
            form.add_error(error.field, str(error))
        else:
            current = " and is current, as the first of its kind" if version.current else ""
            messages.success(request, f"{version} is in the registry{current}.")
            return redirect("models", slug)
    context = {
        "me": me,
        "project": me.project,
        "versions": queries.models_with_judgments(me.project),
        "ratings": rate_policies(me.project),
        "form": form,
    }
    return render(request, "training/models.html", context, status=422 if form.errors else 200)


@login_required
@require_GET
def model(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    found = next(((v, n) for v, n in queries.models_with_judgments(me.project) if v.pk == pk), None)
    if found is None:
        raise Http404("No such model.")
    version, judgments = found
    family = queries.related_models(me.project)
    is_policy = version.kind == ModelVersion.Kind.POLICY
    context = {
        "me": me,
        "project": me.project,
        "version": version,
        "drawing": draw(family[pk], family),
        "judgments": judgments,
        "bytes": model_archive.size_of(version),
        "results": metric_labels.results(metric_labels.of_report(version.metrics)),
        "by_degree": metric_labels.groups(version.metrics, "accuracy_by_degree"),
        "samples": queries.sample_responses(version) if is_policy else [],
        "ask": RunForm(me.project, Run.Kind.GENERATE, initial={"model": version.pk}) if is_policy else None,
        "children": version.children.order_by("pk"),
    }
    return render(request, "training/model.html", context)


@login_required
@require_POST
def model_promote(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    project = project_for(request.user, slug, Role.LEAD)
    version = get_object_or_404(queries.models_of(project), pk=pk)
    try:
        promote(version, current_user(request))
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{version} is the current {version.get_kind_display().lower()} now.")
    return redirect(version)


@login_required
@require_POST
def model_retire(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    project = project_for(request.user, slug, Role.LEAD)
    version = get_object_or_404(queries.models_of(project), pk=pk)
    try:
        retire(version, current_user(request))
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{version} is retired: it is offered nowhere any more.")
    return redirect(version)


@login_required
@require_GET
def model_card(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    version = get_object_or_404(queries.models_of(me.project).prefetch_related("rounds_after__loop"), pk=pk)
    headers = {"Content-Disposition": f'attachment; filename="{version.name}.md"'}
    return HttpResponse(card(version), content_type="text/markdown; charset=utf-8", headers=headers)


@login_required
@require_GET
def model_download(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    version = get_object_or_404(queries.models_of(me.project).prefetch_related("rounds_after__loop"), pk=pk)
    try:
        made = model_archive.archive(version)
    except RunError as error:
        raise Http404(str(error)) from error
    return stream_response(
        made.chunks(), content_type=model_archive.CONTENT_TYPE, name=made.name, size=made.size
    )
