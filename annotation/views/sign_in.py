"""Single sign-on by OpenID Connect, and the parts of signing in that a site may turn off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps

from allauth.account.internal.flows.login import clear_authentication_records
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from requests import RequestException

from annotation.access import current_user

log = logging.getLogger(__name__)

View = Callable[..., HttpResponse]


def if_on(setting: str, view: View) -> View:
    """The view; where the setting is off there is no such page."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if getattr(settings, setting) in (False, "off"):
            raise Http404
        return view(request, *args, **kwargs)

    return wrapper


@require_POST
@never_cache
def single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponse:
    """A page that leads to the provider, and not a redirect: the Content-Security-Policy lets forms lead to this site only, and
    nobody knows which other sites the provider leads through."""
    try:
        response = openid_connect.login(request, provider_id)
    except RequestException as error:
        log.error("The provider of single sign-on does not answer: %s", error)
        messages.error(
            request, _("%(name)s does not answer. Try again later.") % {"name": settings.OIDC_NAME}
        )
        return redirect("account" if request.user.is_authenticated else "account_login")
    if isinstance(response, HttpResponseRedirect):
        return render(request, "socialaccount/leave.html", {"url": response.url, "name": settings.OIDC_NAME})
    return response


@require_GET
@never_cache
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Where the provider leads back. What it says of people can be anything: what cannot be read or stored is an error that the
    log has, and nobody is signed in."""
    try:
        with transaction.atomic():
            response: HttpResponse = openid_connect.callback(request, provider_id)
            return response
    except (TypeError, ValueError, LookupError, AttributeError, ImproperlyConfigured, DatabaseError) as error:
        log.error("The answer of single sign-on cannot be used: %s: %s", type(error).__name__, error)
        request.session.flush()
        sentence = _("Signing in with %(name)s failed. Ask an administrator.") % {"name": settings.OIDC_NAME}
        messages.error(request, sentence)
        return redirect("account_login")


@login_required
@require_POST
def disconnect(request: HttpRequest) -> HttpResponse:
    """Disconnect the account from the provider; it needs a password to sign in with."""
    me = current_user(request)
    if not me.has_usable_password():
        sentence = _("You sign in with %(name)s only: without it you could not sign in.")
        messages.error(request, sentence % {"name": settings.OIDC_NAME})
    elif SocialAccount.objects.filter(user=me).delete()[0]:
        clear_authentication_records(request)  # a second factor may be required now
        sentence = _("%(name)s is disconnected. Sign in with your password.") % {"name": settings.OIDC_NAME}
        messages.success(request, sentence)
    return redirect("account")


@login_required
@require_GET
def no_password(request: HttpRequest) -> HttpResponse:
    """Where django-allauth leads whoever has no password to change."""
    messages.info(request, _("Your account has no password: you sign in by single sign-on."))
    return redirect("account")
