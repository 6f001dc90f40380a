"""Reminding members that items are waiting for them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from annotation.access import Role, current_user, member_for
from annotation.actions.reminders import MAX_PEOPLE, Reminded, ReminderError, recipients, remind
from annotation.analytics.outlook import outlook
from annotation.models import Member


@login_required
@require_http_methods(["GET", "POST"])
def remind_page(request: HttpRequest, slug: str) -> HttpResponse:
    """The annotators, with a checkbox each; a post reminds those that are checked."""
    me = member_for(request.user, slug, Role.LEAD)
    if request.method == "GET":
        return _page(request, me)
    try:
        reminded = remind(project=me.project, users=_read_users(request), actor=current_user(request))
    except ReminderError as error:
        return _page(request, me, error)
    messages.success(request, _message(reminded))
    return redirect("progress", slug)


def _read_users(request: HttpRequest) -> list[int]:
    """
    Raises:
        ReminderError: one of them is no number.
    """
    texts = request.POST.getlist("users")
    if not all(text.isdecimal() and len(text) < 16 for text in texts):
        raise ReminderError("users", _("Only members of the project can be reminded."))
    return [int(text) for text in texts]


def _message(reminded: Reminded) -> str:
    sent, left_out = len(reminded.sent), len(reminded.left_out)
    text = ngettext("%(n)s person was reminded.", "%(n)s people were reminded.", sent) % {"n": sent}
    if not left_out:
        return text
    more = ngettext(
        "%(names)s was not: reminded lately, paused, or nothing is left for them.",
        "%(names)s were not: reminded lately, paused, or nothing is left for them.",
        left_out,
    ) % {"names": ", ".join(str(member.user) for member in reminded.left_out)}
    return f"{text} {more}"


def _page(request: HttpRequest, me: Member, error: ReminderError | None = None) -> HttpResponse:
    project = me.project
    annotators = project.members.filter(role=Member.Role.ANNOTATOR).select_related("user", "project")
    page = Paginator(annotators.order_by("user__username"), MAX_PEOPLE).get_page(request.GET.get("page"))
    context = {
        "me": me,
        "project": project,
        "outlook": outlook(project),
        "page": page,
        "recipients": recipients(project, list(page)),
        "error": error,
    }
    return render(request, "annotation/remind.html", context, status=422 if error else 200)
