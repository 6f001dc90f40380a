"""Batches of a project: items assigned to named members with a due date, and their progress."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from annotation import queries
from annotation.access import Role, current_user, member_for, project_for
from annotation.actions.batches import BatchError, NewBatch, change_due, close_batch, create_batch
from annotation.analytics.item_search import Search
from annotation.forms.people import BatchForm
from annotation.logic.translation import format_number
from annotation.models import Batch, Member

PER_PAGE = 20


@login_required
@require_http_methods(["GET", "POST"])
def batches(request: HttpRequest, slug: str) -> HttpResponse:
    """The batches; a POST creates one."""
    me = member_for(request.user, slug, Role.LEAD)
    if request.method == "GET":
        return _page(request, me, BatchForm(project=me.project, initial=request.GET.dict()))
    form = BatchForm(request.POST, project=me.project)
    if form.is_valid():
        data = form.cleaned_data
        try:
            new = create_batch(
                project=me.project,
                name=data["name"],
                users=[int(pk) for pk in data["users"]],
                due_at=data["due_at"],
                search=Search.read({**{name: data[name] for name in BatchForm.FILTERS}, "state": "open"}),
                limit=data["limit"],
                actor=current_user(request),
            )
        except BatchError as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.success(request, _created(new))
            return redirect("batches", slug)
    return _page(request, me, form)


@login_required
@require_POST
def batch_due(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Changes when a batch is due."""
    batch = _batch(request, slug, pk)
    try:
        due_at = parse_datetime(request.POST.get("due_at", "")) or None
    except ValueError:
        due_at = None
    try:
        if due_at is None:
            raise BatchError("due_at", _("Enter a date and a time."))
        aware = due_at if timezone.is_aware(due_at) else timezone.make_aware(due_at)
        change_due(batch=batch, due_at=aware, actor=current_user(request))
    except BatchError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The due date of “%(batch)s” is changed.") % {"batch": batch})
    return redirect("batches", slug)


@login_required
@require_POST
def batch_close(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    batch = _batch(request, slug, pk)
    close_batch(batch=batch, actor=current_user(request))
    text = _("“%(batch)s” is closed. What was left of it goes to everybody.")
    messages.success(request, text % {"batch": batch})
    return redirect("batches", slug)


def _batch(request: HttpRequest, slug: str, pk: int) -> Batch:
    project = project_for(request.user, slug, Role.LEAD)
    return get_object_or_404(project.batches.select_related("project"), pk=pk)


def _created(new: NewBatch) -> str:
    items = ngettext("%(n)s item", "%(n)s items", new.items) % {"n": format_number(new.items)}
    judgments = ngettext("%(n)s judgment", "%(n)s judgments", new.judgments) % {
        "n": format_number(new.judgments)
    }
    counts = {"batch": new.batch, "items": items, "judgments": judgments}
    sentences = [_("“%(batch)s” is assigned: %(items)s, %(judgments)s.") % counts]
    if new.judged:
        judged = _("Left out: %(n)s that its people have judged, skipped or opened, or have in a batch.")
        sentences.append(judged % {"n": format_number(new.judged)})
    if new.taken:
        taken = _("Left out: %(n)s that are in other batches or need nobody else.")
        sentences.append(taken % {"n": format_number(new.taken)})
    return " ".join(sentences)


def _page(request: HttpRequest, me: Member, form: forms.Form) -> HttpResponse:
    page = Paginator(queries.batches_of(me.project), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "me": me,
        "project": me.project,
        "form": form,
        "page": page,
        "batches": queries.batch_progress(list(page)),
    }
    return render(request, "annotation/batches.html", context, status=422 if form.errors else 200)
