"""Snapshots: freezing what people said, and taking it away as a file."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation import oversight, queries
from annotation.access import Role, member_for, person, project_for
from annotation.actions import freeze as freezing
from annotation.forms import FreezeForm
from annotation.logic.formats import FORMATS, Row, export
from annotation.models import Member
from annotation.streaming import in_threads

FORMAT_WORDS = {
    "trl": "Pairs for TRL: prompt, chosen, rejected as messages, and the margin.",
    "rankings": "One line per ranking: prompt, responses, ranks.",
    "raw": "One line per judgment, with everything known of it.",
}


@login_required
@require_GET
def data(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return _page(request, me, FreezeForm())


@login_required
@require_POST
def freeze(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    form = FreezeForm(request.POST)
    if form.is_valid():
        try:
            snapshot = freezing.freeze(
                project=me.project, creator=person(request), note=form.cleaned_data["note"]
            )
        except freezing.FreezeError as error:
            form.add_error(None, str(error))
        else:
            messages.success(
                request,
                f"{snapshot} holds {snapshot.counts['judgments']:,} judgments and will never change.",
            )
            return redirect("data", slug)
    return _page(request, me, form)


@login_required
@require_GET
def snapshot_download(request: HttpRequest, slug: str, number: int, format: str) -> StreamingHttpResponse:
    project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    snapshot = get_object_or_404(project.snapshots, number=number)
    if not freezing.file_of(snapshot).is_file():
        raise Http404(f"The file of {snapshot} is missing: {snapshot.path}.")
    return _download(freezing.read(snapshot), format, f"{slug}-snapshot-{number}-{format}.jsonl")


@login_required
@require_GET
def live_download(request: HttpRequest, slug: str, format: str) -> StreamingHttpResponse:
    """What people have said up to now, not frozen: the same link gives more tomorrow."""
    project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return _download(queries.judgment_rows(project), format, f"{slug}-live-{format}.jsonl")


def _download(rows: Iterator[Row], format: str, name: str) -> StreamingHttpResponse:
    if format not in FORMATS:
        raise Http404(f"There is no format {format!r}: choose one of {', '.join(FORMATS)}.")
    return StreamingHttpResponse(
        in_threads(export(rows, format)),
        content_type="application/x-ndjson; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page(request: HttpRequest, me: Member, form: FreezeForm) -> HttpResponse:
    project = me.project
    snapshots = list(project.snapshots.select_related("created_by"))
    context = {
        "me": me,
        "project": project,
        "form": form,
        "snapshots": snapshots,
        "new": oversight.judgments_after(project, snapshots[0] if snapshots else None),
        "splits": queries.split_counts(project),
        "formats": FORMAT_WORDS,
    }
    return render(request, "annotation/data.html", context, status=422 if form.errors else 200)
