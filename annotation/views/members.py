"""Members page: roles, invitations and new accounts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import bulk_members
from annotation.actions.members import (
    ROLE_NAMES,
    MemberError,
    NewAccount,
    add_member,
    change_role,
    create_account,
    remove_member,
    removed_members,
    restore_member,
)
from annotation.actions.passwords import create_reset_path
from annotation.actions.rules import RuleError
from annotation.analytics.figures import counted_by_worker
from annotation.forms.people import AddMemberForm, InvitationForm, NewAccountForm
from annotation.lists.listing import Listing
from annotation.lists.members import MEMBERS
from annotation.logic import periods
from annotation.logic.translation import format_number
from annotation.models import Member
from annotation.views import HtmxRequest, bulk
from annotation.views.bulk import BulkAct
from annotation.views.lists import render_list


def _paused(n: int) -> str:
    return ngettext("%(n)s person gets no more work.", "%(n)s people get no more work.", n) % {
        "n": format_number(n)
    }


def _resumed(n: int) -> str:
    return ngettext("%(n)s person can continue.", "%(n)s people can continue.", n) % {"n": format_number(n)}


ACTS = {
    "pause": BulkAct(
        gettext_lazy("Pause"), bulk_members.pause, bulk_members.undo, _paused, is_dangerous=True
    ),
    "resume": BulkAct(
        gettext_lazy("Lift pauses and warnings"), bulk_members.resume, bulk_members.undo, _resumed
    ),
}
ROLE_CHANGED = {
    Role.LEAD: gettext_lazy("%(user)s is a lead now."),
    Role.REVIEWER: gettext_lazy("%(user)s is a reviewer now."),
    Role.ANNOTATOR: gettext_lazy("%(user)s is an annotator now."),
}


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD)
    form = AddMemberForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            member = add_member(project=me.project, actor=current_user(request), **form.cleaned_data)
        except MemberError as error:
            form.add_error(error.field, str(error))
        else:
            text = _("%(user)s joined as %(role)s.")
            messages.success(request, text % {"user": member.user, "role": _role_name(member)})
            return redirect("members", slug)
    return page(request, me, add_form=form)


@login_required
@require_POST
@never_cache
def member_create(request: HtmxRequest, slug: str) -> HttpResponseBase:
    """Returns the page itself, without a redirect: the password is shown only once."""
    me = member_for(request.user, slug, Role.LEAD)
    form = NewAccountForm(request.POST)
    if form.is_valid():
        try:
            created = create_account(project=me.project, actor=current_user(request), **form.cleaned_data)
        except MemberError as error:
            form.add_error(error.field, str(error))
        else:
            return page(request, me, created=created)
    return page(request, me, account_form=form)


@login_required
@require_POST
def member_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    member = get_object_or_404(
        project_for(request.user, slug, Role.LEAD).members.select_related("user"), pk=pk
    )
    try:
        change_role(member=member, role=request.POST.get("role", ""), actor=current_user(request))
    except MemberError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, ROLE_CHANGED[Role(member.role)] % {"user": member.user})
    return _back(request, slug, member)


@login_required
@require_POST
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    member = get_object_or_404(
        project_for(request.user, slug, Role.LEAD).members.select_related("user"), pk=pk
    )
    try:
        remove_member(member=member, actor=current_user(request))
    except MemberError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request,
            _("%(user)s was removed. Their judgments are kept; they can be added back below.")
            % {"user": member.user},
        )
    return _back(request, slug, member)


@login_required
@require_POST
def members_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    return bulk.act_on_rows(request, member_for(request.user, slug, Role.LEAD), MEMBERS, ACTS, RuleError)


@login_required
@require_POST
def members_undo(request: HttpRequest, slug: str) -> HttpResponse:
    return bulk.undo(request, member_for(request.user, slug, Role.LEAD), MEMBERS, ACTS)


@login_required
@require_POST
def member_restore(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project = project_for(request.user, slug, Role.LEAD)
    try:
        member = restore_member(project=project, user_id=user_id, actor=current_user(request))
    except MemberError as error:
        messages.error(request, str(error))
    else:
        text = _("%(user)s is back, as %(role)s.")
        messages.success(request, text % {"user": member.user, "role": _role_name(member)})
    return redirect("members", slug)


@login_required
@require_POST
@never_cache
def member_password(request: HtmxRequest, slug: str, pk: int) -> HttpResponseBase:
    """Returns the page itself, without a redirect: the link is shown only once."""
    me = member_for(request.user, slug, Role.LEAD)
    member = get_object_or_404(me.project.members.select_related("user", "project"), pk=pk)
    try:
        path = create_reset_path(member=member, actor=current_user(request))
    except MemberError as error:
        messages.error(request, str(error))
        return redirect("members", slug)
    return page(request, me, reset={"member": member, "link": request.build_absolute_uri(path)})


def _role_name(member: Member) -> str:
    return str(ROLE_NAMES[Role(member.role)])


def _back(request: HttpRequest, slug: str, member: Member) -> HttpResponse:
    """Back to the list, or home for leads who have just given up their role."""
    still_leads = Member.objects.filter(
        project__slug=slug, user=current_user(request), role=Role.LEAD
    ).exists()
    return redirect("members", slug) if still_leads else redirect("home")


def page(
    request: HtmxRequest,
    me: Member,
    *,
    add_form: forms.Form | None = None,
    account_form: forms.Form | None = None,
    invitation_form: forms.Form | None = None,
    created: NewAccount | None = None,
    invited: dict[str, Any] | None = None,
    reset: dict[str, Any] | None = None,
) -> HttpResponseBase:
    """The page, with the password or link that was just created, which is shown only once."""
    add_form, account_form = add_form or AddMemberForm(), account_form or NewAccountForm()
    invitation_form = invitation_form or InvitationForm()
    listing = Listing(MEMBERS, me.project, request.GET)
    with counted_by_worker(me.project):
        members = listing.page.rows
    context = {
        "group_roles": [
            f"{rule.group} → {ROLE_NAMES[Role(rule.role)]}"
            for rule in settings.OIDC_ROLES
            if rule.project == me.project.slug
        ],
        "removed": removed_members(me.project),
        "members": members,
        "acts": ACTS,
        "invitations": me.project.invitations.select_related("created_by").order_by("-id"),
        "roles": Member.Role.choices,
        "periods": periods.NAMES,
        "now": timezone.now(),
        "add_form": add_form,
        "account_form": account_form,
        "invitation_form": invitation_form,
        "created": created,
        "invited": invited,
        "reset": reset,
    }
    errors = add_form.errors or account_form.errors or invitation_form.errors
    return render_list(
        request, me, listing, "annotation/members.html", context, status=422 if errors else 200
    )
