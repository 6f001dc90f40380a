"""Who belongs to a project, and in which role."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation import oversight
from annotation.access import Role, member_for, person, project_for
from annotation.actions.members import MemberError, add_member, change_role, create_account, remove_member
from annotation.forms import AddMemberForm, NewAccountForm
from annotation.models import Member


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    form = AddMemberForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            member = add_member(project=me.project, **form.cleaned_data)
        except MemberError as error:
            form.add_error(error.field, str(error))
        else:
            messages.success(request, f"{member.user} joined as {member.role}.")
            return redirect("members", slug)
    return _page(request, me, add_form=form)


@login_required
@require_POST
@never_cache
def member_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Answers with the page itself, not a redirect: the password stands on it this once."""
    me = member_for(request.user, slug, Role.LEAD)
    form = NewAccountForm(request.POST)
    if form.is_valid():
        try:
            member, password = create_account(project=me.project, **form.cleaned_data)
        except MemberError as error:
            form.add_error(error.field, str(error))
        else:
            return _page(request, me, created={"username": member.user.username, "password": password})
    return _page(request, me, account_form=form)


@login_required
@require_POST
def member_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    member = get_object_or_404(
        project_for(request.user, slug, Role.LEAD).members.select_related("user"), pk=pk
    )
    try:
        change_role(member=member, role=request.POST.get("role", ""))
    except MemberError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{member.user} is {_with_article(member.role)} now.")
    return _back(request, slug, member)


@login_required
@require_POST
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    member = get_object_or_404(
        project_for(request.user, slug, Role.LEAD).members.select_related("user"), pk=pk
    )
    try:
        remove_member(member=member)
    except MemberError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{member.user} left the project. What they judged stays.")
    return _back(request, slug, member)


def _with_article(role: str) -> str:
    return f"an {role}" if role == Member.Role.ANNOTATOR else f"a {role}"


def _back(request: HttpRequest, slug: str, member: Member) -> HttpResponse:
    """To the list; who has just given up their own lead may not see it any more."""
    still_leads = Member.objects.filter(project__slug=slug, user=person(request), role=Role.LEAD).exists()
    return redirect("members", slug) if still_leads else redirect("home")


def _page(
    request: HttpRequest,
    me: Member,
    *,
    add_form: forms.Form | None = None,
    account_form: forms.Form | None = None,
    created: dict[str, str] | None = None,
) -> HttpResponse:
    add_form, account_form = add_form or AddMemberForm(), account_form or NewAccountForm()
    context = {
        "me": me,
        "project": me.project,
        "members": oversight.members_today(me.project),
        "roles": Member.Role.choices,
        "add_form": add_form,
        "account_form": account_form,
        "created": created,
    }
    wrong = add_form.errors or account_form.errors
    return render(request, "annotation/members.html", context, status=422 if wrong else 200)
