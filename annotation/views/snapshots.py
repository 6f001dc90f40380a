"""Data pages: create snapshots, compare them, and download judgments in all export formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from annotation import analytics, queries
from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import snapshot_jobs
from annotation.actions.snapshots import SnapshotError, snapshot_path
from annotation.exports.dataset_card import render_card
from annotation.exports.formats import FORMATS
from annotation.exports.selection import VOTES, Selection, SelectionError
from annotation.exports.snapshot_diff import compare_snapshots
from annotation.forms.data import FreezeForm
from annotation.http.file_downloads import send_hub_archive, send_live_export, send_snapshot_export
from annotation.logic.markdown import render as as_html
from annotation.models import Member, Project, Snapshot, SnapshotJob
from annotation.store import store
from annotation.views import HtmxRequest


@login_required
@require_GET
def snapshots(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; while a worker creates a snapshot, it reloads its upper part."""
    return _page(request, member_for(request.user, slug, Role.LEAD, Role.REVIEWER))


@login_required
@require_POST
def freeze(request: HtmxRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    form = FreezeForm(request.POST)
    if form.is_valid():
        try:
            created = snapshot_jobs.request_snapshot(
                project=me.project, creator=current_user(request), **form.cleaned_data
            )
        except snapshot_jobs.OpenJob as error:
            messages.error(request, str(error))  # the page shows the job in place of the form
            return redirect("snapshots", slug)
        except SnapshotError as error:
            form.add_error(None, str(error))
        else:
            if isinstance(created, Snapshot):
                messages.success(
                    request,
                    _("%(snapshot)s is created, with %(contents)s.")
                    % {"snapshot": created, "contents": created.summary},
                )
            return redirect("snapshots", slug)
    return _page(request, me, form)


@login_required
@require_POST
def snapshot_job_cancel(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    job = get_object_or_404(project_for(request.user, slug, Role.LEAD).snapshot_jobs, pk=pk)
    try:
        snapshot_jobs.cancel(job)
    except SnapshotError as error:
        messages.error(request, str(error))
    return redirect("snapshots", slug)


@login_required
@require_GET
def snapshot(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """A snapshot: data card, runs trained on it, and downloads."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    frozen = _snapshot(me.project, number)
    context = {
        "me": me,
        "project": me.project,
        "snapshot": frozen,
        "others": me.project.snapshots.exclude(pk=frozen.pk),
        "card": as_html(render_card(frozen.manifest)) if frozen.manifest else "",
        "runs": frozen.runs.select_related("output").order_by("id"),
    } | _export_choices()
    return render(request, "annotation/snapshot.html", context)


@login_required
@require_GET
def snapshot_difference(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The differences from the snapshot number in `from`."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    newer = _snapshot(me.project, number)
    number_text = request.GET.get("from", "")
    older = _snapshot(me.project, int(number_text) if number_text.isdecimal() and len(number_text) < 9 else 0)
    context = {
        "me": me,
        "project": me.project,
        "older": older,
        "newer": newer,
        "difference": compare_snapshots(snapshot_path(older), snapshot_path(newer)),
    }
    return render(request, "annotation/snapshot_difference.html", context)


@login_required
@require_GET
def snapshot_download(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """An export file; supports range requests, so that interrupted downloads can be resumed."""
    frozen = _snapshot(project_for(request.user, slug, Role.LEAD, Role.REVIEWER), number)
    return send_snapshot_export(request, frozen, _selection(request, of_snapshot=True))


@login_required
@require_GET
def snapshot_hub(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """A dataset folder for the Hugging Face hub, zipped."""
    frozen = _snapshot(project_for(request.user, slug, Role.LEAD, Role.REVIEWER), number)
    return send_hub_archive(request, frozen)


@login_required
@require_GET
def live_download(request: HttpRequest, slug: str) -> HttpResponseBase:
    """An export of the judgments up to now, without a snapshot."""
    project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    with _not_found():
        return send_live_export(request, project, _selection(request))


def _selection(request: HttpRequest, *, of_snapshot: bool = False) -> Selection:
    """
    Raises:
        Http404: there is no such format, or a filter is wrong.
    """
    parameters = {name: value for name, value in request.GET.dict().items() if value}
    with _not_found():
        return Selection.from_parameters(parameters, of_snapshot=of_snapshot)


@contextmanager
def _not_found() -> Iterator[None]:
    """Turns a selection that is refused into 404."""
    try:
        yield
    except SelectionError as error:
        raise Http404(f"{error.field}: {error}") from None


def _snapshot(project: Project, number: int) -> Snapshot:
    snapshot = get_object_or_404(project.snapshots.select_related("project", "created_by"), number=number)
    if not store().exists(snapshot.path):
        raise Http404(f"The file of {snapshot} is missing: {snapshot.path}.")
    return snapshot


def _export_choices() -> dict[str, Any]:
    """The formats and the ways to pool votes, each with its description."""
    return {
        "formats": {name: _(format.about) for name, format in FORMATS.items()},
        "votes": {name: _(words) for name, words in VOTES.items()},
    }


def _page(request: HtmxRequest, me: Member, form: FreezeForm | None = None) -> HttpResponse:
    project = me.project
    snapshots = list(project.snapshots.select_related("created_by"))
    job = project.snapshot_jobs.select_related("created_by").first()
    open_job = job if job and job.is_open else None
    failed_job = job if job and job.state == SnapshotJob.State.FAILED else None
    if form is None:
        values = {name: getattr(failed_job, name) for name in FreezeForm.base_fields} if failed_job else {}
        form = FreezeForm(initial=values | ({"imported": True} if "imported" in request.GET else {}))
    context = {
        "me": me,
        "project": project,
        "form": form,
        "snapshots": snapshots,
        "open_job": open_job,
        "failed_job": failed_job,
        "opinion_sets": project.opinion_sets.all(),
        "counts": queries.count_rows(project),
    } | _export_choices()
    if not open_job:
        context["new"] = analytics.new_judgment_count(project, snapshots[0] if snapshots else None)
    template = "annotation/snapshots.html#state" if request.htmx else "annotation/snapshots.html"
    return render(request, template, context, status=422 if form.errors else 200)
