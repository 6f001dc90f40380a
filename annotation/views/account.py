"""Account pages: sessions, API tokens, data export and erasure."""

from __future__ import annotations

from datetime import timedelta

from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import personal_data_export
from annotation.access import current_user, require_staff
from annotation.actions import accounts
from annotation.actions.accounts import AccountError
from annotation.actions.sessions import end_sessions, sessions
from annotation.forms.account import DisplayForm, EraseForm, TokenForm
from annotation.http.streaming import stream_response
from annotation.logic.time_zones import zone_named
from annotation.middleware import language_of
from annotation.models import ApiToken, Judgment, User


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """A new token is returned on the page itself, without a redirect: its key is shown only once."""
    form = TokenForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        _token, key = ApiToken.issue(
            user=current_user(request),
            name=form.cleaned_data["name"],
            scope=form.cleaned_data["scope"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        return _page(request, TokenForm(), key=key)
    return _page(request, form)


@login_required
@never_cache
@require_POST
def account_display(request: HttpRequest) -> HttpResponse:
    """Changes one's time zone, language and e-mail notifications."""
    form = DisplayForm(request.POST, instance=current_user(request))
    if not form.is_valid():
        return _page(request, TokenForm(), display_form=form)
    form.save()
    with override(language_of(request)):  # which may have changed
        messages.success(request, _("Your settings are saved."))
    return redirect("account")


@login_required
@require_POST
def account_time_zone(request: HttpRequest) -> HttpResponse:
    """Sets one's time zone to that of the browser, unless one has been set: pages send it at the first visit."""
    try:
        name = zone_named(request.POST.get("time_zone", "")).key
    except ValueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")
    User.objects.filter(pk=current_user(request).pk, time_zone="").update(time_zone=name)
    return HttpResponse(status=204)


@login_required
@require_POST
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(current_user(request).api_tokens, pk=pk)
    token.delete()
    messages.success(request, _("The token “%(name)s” is revoked.") % {"name": token.name})
    return redirect("account")


@login_required
@require_POST
def sessions_end(request: HttpRequest) -> HttpResponse:
    """End one session, or every other one."""
    pk = request.POST.get("session", "")
    if pk and not (pk.isdecimal() and len(pk) < 19):
        raise Http404
    ended = end_sessions(
        current_user(request), pk=int(pk) if pk else None, except_key=request.session.session_key
    )
    sentence = ngettext("Signed out of %(n)s session.", "Signed out of %(n)s sessions.", ended) % {"n": ended}
    messages.success(request, sentence)
    return redirect("account")


@login_required
@require_GET
def account_export(request: HttpRequest) -> StreamingHttpResponse:
    """All data stored about the current user."""
    me = current_user(request)
    name = f"{me.pseudonym}.json"
    response = stream_response(personal_data_export.export(me), content_type="application/json", name=name)
    response["Cache-Control"] = "no-store"
    return response


@login_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def account_erase(request: HttpRequest) -> HttpResponse:
    return _erase(request, current_user(request))


@login_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def person_erase(request: HttpRequest, pk: int) -> HttpResponse:
    """Somebody else's account, for staff; once it is erased, how far the worker is that deletes what its owner wrote."""
    require_staff(current_user(request))
    user = get_object_or_404(User.objects.select_related("erasure"), pk=pk)
    if user.erased_at is None:
        return _erase(request, user)
    if request.method == "POST":
        raise Http404("It was erased before.")
    return render(
        request,
        "annotation/account_erased.html",
        {"person": user, "erasure": getattr(user, "erasure", None)},
    )


def _erase(request: HttpRequest, user: User) -> HttpResponse:
    me = current_user(request)
    form = EraseForm(request.POST if request.method == "POST" else None, user=me)
    if request.method == "POST" and form.is_valid():
        try:
            accounts.erase(user=user, actor=me)
        except AccountError as error:
            form.add_error(None, str(error))
        else:
            if user == me:
                logout(request)
                messages.success(
                    request,
                    _(
                        "Your account is erased. Your judgments are kept under a pseudonym; what you wrote is deleted from them"
                        " now."
                    ),
                )
                return redirect("account_login")
            return redirect("person-erase", user.pk)
    judgments = Judgment.objects.filter(annotator=user).count()
    context = {"form": form, "person": user, "judgments": judgments, "is_me": user == me}
    return render(request, "annotation/account_erase.html", context, status=422 if form.errors else 200)


def _page(
    request: HttpRequest, form: forms.Form, *, key: str = "", display_form: forms.ModelForm | None = None
) -> HttpResponse:
    me = current_user(request)
    display_form = display_form or DisplayForm(instance=me)
    context = {
        "form": form,
        "display_form": display_form,
        "key": key,
        "sessions": sessions(me, request.session.session_key),
        "second_factor": settings.MFA != "off" and is_mfa_enabled(me),
        "connected": settings.OIDC_URL and SocialAccount.objects.filter(user=me).exists(),
        "tokens": me.api_tokens.order_by("-id"),
        "memberships": me.memberships.select_related("project").order_by("project__name"),
        "address": request.build_absolute_uri("/api/v1/projects/"),
    }
    errors = form.errors or display_form.errors
    return render(request, "annotation/account.html", context, status=422 if errors else 200)
