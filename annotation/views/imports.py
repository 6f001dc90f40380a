"""Import pages: upload a file of prompts, preview it, start the import and follow it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import imports, uploads
from annotation.actions.imports import ImportPreview
from annotation.actions.uploads import UploadError
from annotation.analytics import unanswered_prompt_count
from annotation.analytics.figures import counted_or_none
from annotation.analytics.filters import NO_FILTERS
from annotation.forms.data import ImportForm, ImportStartForm
from annotation.imports.dataset_formats import COLUMN_ROLES, DATASET_FORMATS, guess_role
from annotation.imports.prompt_schema import ImportedPrompt
from annotation.logic.markdown import render as to_html
from annotation.models import Import, Member, Project, User
from annotation.queries import count_rows
from annotation.views import HtmxRequest

SHOWN_CHARS = 3000
SHOWN_JUDGMENTS = 5
NEWEST = 20


@login_required
@require_http_methods(["GET", "POST"])
def import_file(request: HtmxRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    form = ImportForm(*((request.POST, request.FILES) if request.method == "POST" else ()))
    if request.method == "POST" and form.is_valid():
        try:
            upload = uploads.save_upload(
                project=me.project,
                name=form.name(),
                file=form.content(),
                creator=current_user(request),
                may_be_mapped=True,
            )
        except UploadError as error:
            form.add_error("file" if form.cleaned_data["file"] else "text", str(error))
        else:
            url = reverse("import-preview", args=[slug, upload.pk])
            return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
    template = "annotation/import.html#upload" if request.htmx else "annotation/import.html"
    context = _list(me) | {"form": form}
    return render(request, template, context, status=422 if form.errors else 200)


@login_required
@require_GET
def import_list(request: HttpRequest, slug: str) -> HttpResponse:
    """The list of imports, which the page reloads."""
    me = member_for(request.user, slug, Role.LEAD)
    return render(request, "annotation/import.html#list", _list(me))


@login_required
@require_GET
def import_preview(request: HtmxRequest, slug: str, pk: int) -> HttpResponse:
    """One file: a preview before it is started, its progress and result afterwards."""
    me = member_for(request.user, slug, Role.LEAD)
    upload = get_object_or_404(me.project.imports, pk=pk)
    context: dict[str, Any] = {"me": me, "project": me.project, "upload": upload, "title": title_of(upload)}
    if upload.state == Import.State.UPLOADED and (not upload.shape or "map" in request.GET):
        return _map_page(request, me, upload)
    if upload.state == Import.State.UPLOADED:
        try:
            preview = imports.preview_upload(upload)
        except UploadError as error:
            messages.error(request, str(error))
            return redirect("import", slug)
        context |= {"preview": preview, "examples": [_example(prompt) for prompt in preview.examples]}
        context |= {
            "unit": uploads.row_unit(preview.file_type),
            "columns": columns_by_use(preview.columns),
            "undecided_columns": format_html_join(
                ", ", "<code>{}</code>", ((name,) for name in preview.undecided)
            ),
            "may_start": preview.is_readable and bool(preview.examples or preview.not_comparable),
            "set_aside_share": (share := suggest_share(preview)),
            "set_aside_percent": round(100 * share),
            "judgments": Import.Judgments,
            "accounts": User.Account,
        }
    else:
        left_out = upload.judgments == Import.Judgments.LEAVE_OUT
        context["columns"] = columns_by_use(
            upload.report.get("columns", {}),
            preferences=_("Preferences, left out") if left_out else _("Imported as judgments"),
        )
    template = "annotation/import_preview.html#state" if request.htmx else "annotation/import_preview.html"
    return render(request, template, context)


@login_required
@require_POST
def import_map(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Gives the columns of a file their roles: `column` and `role` are repeated, a pair for each column."""
    me = member_for(request.user, slug, Role.LEAD)
    upload = get_object_or_404(me.project.imports, pk=pk)
    pairs = zip(request.POST.getlist("column"), request.POST.getlist("role"), strict=False)
    mapping = {column: role for column, role in pairs if role}
    try:
        uploads.map_columns(upload, mapping)
    except UploadError as error:
        return _map_page(request, me, upload, roles=mapping, error=str(error), status=422)
    return redirect("import-preview", slug, pk)


def _map_page(
    request: HttpRequest,
    me: Member,
    upload: Import,
    *,
    roles: Mapping[str, str] | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    """The columns of a file with what the first row has in them, and a choice of roles for each."""
    try:
        row = uploads.first_row(upload)
    except UploadError as unreadable:
        messages.error(request, str(unreadable))
        return redirect("import", me.project.slug)
    if roles is None:
        roles = dict(upload.mapping) or {name: guess_role(name) for name in row}
    columns = [(name, value, roles.get(name, "")) for name, value in row.items()]
    context = {"me": me, "project": me.project, "upload": upload, "columns": columns, "error": error}
    context["roles"] = [(role, _(label)) for role, label in COLUMN_ROLES.items()]
    return render(request, "annotation/import_map.html", context, status=status)


@login_required
@require_POST
def import_start(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    upload = get_object_or_404(project_for(request.user, slug, Role.LEAD).imports, pk=pk)
    form = ImportStartForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest(_("The choice of what becomes of columns or rows is not valid."))
    try:
        imports.start(upload, **form.cleaned_data)
    except UploadError as error:
        messages.error(request, str(error))
    return redirect("import-preview", slug, pk)


@login_required
@require_POST
def import_cancel(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    upload = get_object_or_404(project_for(request.user, slug, Role.LEAD).imports, pk=pk)
    try:
        imports.cancel(upload)
    except UploadError as error:
        messages.error(request, str(error))
    else:
        is_over = upload.state == Import.State.CANCELLED
        messages.success(
            request,
            _("%(file)s is discarded; nothing was imported.") % {"file": upload.name}
            if is_over
            else _("The import of %(file)s is being stopped; nothing will be imported.")
            % {"file": upload.name},
        )
    return redirect("import", slug)


USES = {
    "read": gettext_lazy("Imported"),
    "metadata": gettext_lazy("Kept as metadata"),
    "preference": gettext_lazy("Preferences"),
    "ignored": gettext_lazy("Left out: without use here, or as in other columns"),
    "left out": gettext_lazy("Left out"),
    "undecided": gettext_lazy("To be decided"),
}


def columns_by_use(columns: dict[str, str], *, preferences: str = "") -> list[tuple[str, list[str]]]:
    """The names of columns under what becomes of them. preferences: what becomes of those, if that is known."""
    uses = USES | ({"preference": preferences} if preferences else {})
    return [
        (str(title), names)
        for use, title in uses.items()
        if (names := sorted(name for name, its_use in columns.items() if its_use == use))
    ]


def suggest_share(preview: ImportPreview) -> float:
    """A share of rows to set aside: twice that of the first rows, at least 1% and at most all."""
    return min(1.0, max(0.01, math.ceil(200 * len(preview.errors) / max(1, preview.rows_read)) / 100))


def title_of(upload: Import) -> str:
    """The title of the file's format."""
    format = uploads.format_of(upload)
    return _(format.title) if format else ""


def _list(me: Member) -> dict[str, Any]:
    newest = list(me.project.imports.select_related("created_by")[:NEWEST])
    return {
        "me": me,
        "project": me.project,
        "formats": DATASET_FORMATS.values(),
        "imports": [(upload, title_of(upload)) for upload in newest],
        "moving": any(upload.is_open for upload in newest),
    } | _counts(me.project)


def _counts(project: Project) -> dict[str, int | None]:
    counts = count_rows(project)
    unanswered = counted_or_none(project, lambda: unanswered_prompt_count(project, NO_FILTERS), counts)
    return {"prompts": counts.prompts, "unanswered": unanswered}


def _example(prompt: ImportedPrompt) -> dict[str, Any]:
    """A row as annotators will see it, with long texts shortened."""
    answers = [
        {
            "author": answer.author,
            "html": to_html(answer.text[:SHOWN_CHARS]),
            "rank": prompt.gold[n] if prompt.gold else None,
            "judged": [judgment.ranks[n] for judgment in prompt.judgments[:SHOWN_JUDGMENTS]],
            "metadata": answer.metadata,
        }
        for n, answer in enumerate(prompt.responses)
    ]
    turns = [{"role": m["role"], "html": to_html(m["content"][:SHOWN_CHARS])} for m in prompt.messages]
    return {"turns": turns, "answers": answers, "tags": prompt.tags, "metadata": prompt.metadata}
