"""The pages of models: the registry, a model with its lineage, its card and its files."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.lists.listing import Listing
from annotation.store import MissingObject
from annotation.views import HtmxRequest
from annotation.views.lists import render_list
from training.errors import RunError
from training.metric_labels import accuracy_rows, criteria_tables, report_values
from training.models import ModelVersion, Run
from training.registry import model_archive, queries
from training.registry.actions import add_model, promote, retire
from training.registry.hub import check_hub_model
from training.registry.lineage import lineage_graph
from training.registry.model_card import render_model_card
from training.registry.model_list import MODELS
from training.runs.forms import AddModelForm, RunForm


@login_required
@require_http_methods(["GET", "POST"])
def models(request: HtmxRequest, slug: str) -> HttpResponseBase:
    roles = (Role.LEAD,) if request.method == "POST" else (Role.LEAD, Role.REVIEWER)
    me = member_for(request.user, slug, *roles)
    form = AddModelForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        ask_hub = not form.cleaned_data.pop("without_hub")
        try:
            if ask_hub:
                check_hub_model(form.cleaned_data["location"])
            version = add_model(project=me.project, **form.cleaned_data)
        except RunError as error:
            form.add_error(error.field, str(error))
            form.offer_without_hub()
        else:
            text = (
                _("%(model)s was added and is current, as the first of its kind.")
                if version.current
                else _("%(model)s was added.")
            )
            messages.success(request, text % {"model": version})
            return redirect("models", slug)
    context = {
        "me": me,
        "project": me.project,
        "form": form,
    }
    listing = Listing(MODELS, me.project, request.GET)
    return render_list(
        request, me, listing, "training/models.html", context, status=422 if form.errors else 200
    )


@login_required
@require_GET
def model(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    versions = {version.pk: (version, count) for version, count in queries.models_with_judgments(me.project)}
    if pk not in versions:
        raise Http404("No such model.")
    version, judgments = versions[pk]
    related = queries.related_models(me.project)
    files = model_archive.available_files(version)
    is_policy = version.kind == ModelVersion.Kind.POLICY
    context = {
        "me": me,
        "project": me.project,
        "version": version,
        "graph": lineage_graph(related[pk], related),
        "judgments": judgments,
        "files": files,
        "bytes": sum(file.size for file in files),
        "metrics": report_values(version.metrics),
        "by_degree": accuracy_rows(version.metrics, "accuracy_by_degree"),
        "criteria": criteria_tables(version.metrics),
        "samples": queries.sample_responses(version) if is_policy else [],
        "generate_form": RunForm(me.project, Run.Kind.GENERATE, initial={"model": version.pk})
        if is_policy
        else None,
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
        text = (
            _("%(model)s is now the current policy.")
            if version.kind == ModelVersion.Kind.POLICY
            else _("%(model)s is now the current reward model.")
        )
        messages.success(request, text % {"model": version})
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
        text = _("%(model)s is retired: it can no longer be chosen.")
        messages.success(request, text % {"model": version})
    return redirect(version)


@login_required
@require_GET
def model_card(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    version = get_object_or_404(queries.models_of(me.project).prefetch_related("rounds_after__loop"), pk=pk)
    headers = {"Content-Disposition": f'attachment; filename="{version.name}.md"'}
    return HttpResponse(
        render_model_card(version), content_type="text/markdown; charset=utf-8", headers=headers
    )


@login_required
@require_GET
def model_download(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    version = get_object_or_404(queries.models_of(me.project).prefetch_related("rounds_after__loop"), pk=pk)
    try:
        return model_archive.send_model(version, request.GET.get("file", ""))
    except (RunError, MissingObject) as error:
        raise Http404(str(error)) from error
