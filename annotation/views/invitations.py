"""Invitations: leads create and revoke them; people who open one sign up, or join with their account."""

from __future__ import annotations

from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions import invitations
from annotation.actions.invitations import InvitationError
from annotation.actions.members import MemberError
from annotation.forms.people import InvitationForm, SignUpForm
from annotation.models import Invitation, Member
from annotation.views import HtmxRequest
from annotation.views.members import page


@login_required
@require_POST
@never_cache
def invitation_make(request: HtmxRequest, slug: str) -> HttpResponseBase:
    """Returns the page itself, without a redirect: the link is shown only once."""
    me = member_for(request.user, slug, Role.LEAD)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return page(request, me, invitation_form=form)
    invitation, key = invitations.invite(
        project=me.project, creator=current_user(request), **form.cleaned_data
    )
    link = request.build_absolute_uri(reverse("join", args=[key]))
    return page(request, me, invited={"link": link, "invitation": invitation})


@login_required
@require_POST
def invitation_revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    invitation = get_object_or_404(project_for(request.user, slug, Role.LEAD).invitations, pk=pk)
    invitations.revoke(invitation=invitation, actor=current_user(request))
    messages.success(request, _("The invitation is revoked: its link no longer works."))
    return redirect("members", slug)


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, key: str) -> HttpResponse:
    """For anyone who has the link; no further permission is needed."""
    invitation = invitations.find(key)
    if invitation is None:
        return _closed(request, _("This invitation does not exist. Is the link complete?"), status=404)
    try:
        if request.method == "GET":
            return _open(request, key, invitation, SignUpForm())
        if request.user.is_authenticated:
            return _welcome(request, invitations.accept(invitation=invitation, user=current_user(request)))
        form = SignUpForm(request.POST)
        if form.is_valid():
            try:
                member = invitations.sign_up(invitation=invitation, **form.cleaned_data)
            except MemberError as error:
                form.add_error(error.field, str(error))
            else:
                perform_login(request, member.user)
                return _welcome(request, member)
        return _open(request, key, invitation, form)
    except InvitationError as error:
        return _closed(request, str(error), invitation=invitation)


def _open(request: HttpRequest, key: str, invitation: Invitation, form: SignUpForm) -> HttpResponse:
    """
    Raises:
        InvitationError: it cannot be used any more.
    """
    member = Member.objects.filter(project=invitation.project, user=request.user.pk).first()
    if member:
        return _welcome(request, member)
    invitations.check(invitation)
    context = {"invitation": invitation, "form": form, "key": key}
    return render(request, "annotation/join.html", context, status=422 if form.errors else 200)


def _welcome(request: HttpRequest, member: Member) -> HttpResponse:
    sentence = _("You joined %(project)s as %(role)s.")
    messages.success(request, sentence % {"project": member.project, "role": member.role_name})
    return redirect("home")


def _closed(
    request: HttpRequest, sentence: str, *, invitation: Invitation | None = None, status: int = 410
) -> HttpResponse:
    context = {"sentence": sentence, "invitation": invitation}
    return render(request, "annotation/join_closed.html", context, status=status)
