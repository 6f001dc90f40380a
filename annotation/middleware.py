"""Middleware: each user's time zone and language, and a second factor where `MFA` is `required`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.utils import is_mfa_enabled
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import resolve
from django.utils import timezone, translation

from annotation.logic.time_zones import zone_named
from annotation.models import User

ALLOWED = {
    *("mfa_index", "mfa_activate_totp", "mfa_view_recovery_codes", "mfa_download_recovery_codes"),
    *("account_reauthenticate", "account_login", "logout"),
}
"""Names of the URLs with which a second factor is set up."""


def lacks_second_factor(user: User | AnonymousUser, request: HttpRequest) -> bool:
    """Whether the user has to set up a second factor before they may do anything else. Single sign-on needs none: its provider
    asks for it."""
    if settings.MFA != "required" or not user.is_authenticated:
        return False
    used = {record["method"] for record in get_authentication_records(request, user)}
    return not used & {"mfa", "socialaccount"} and not is_mfa_enabled(user)


class UserLocale:
    """HTTP middleware: pages are in the language of the user, or else of the browser, and show times in the zone of the user,
    or else of the site. The API has English and UTC throughout."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = "" if request.path.startswith("/api/") else getattr(request.user, "time_zone", "")
        try:
            zone = zone_named(name) if name else None
        except ValueError:  # a zone that this machine does not know
            zone = None
        with timezone.override(zone), translation.override(language_of(request)):
            return self.get_response(request)


def language_of(request: HttpRequest) -> str:
    """The code of the language of the response, one of `settings.LANGUAGES`."""
    if len(settings.LANGUAGES) == 1:
        return settings.LANGUAGES[0][0]
    if request.path.startswith("/api/"):
        return "en"
    chosen = getattr(request.user, "language", "")
    if chosen in dict(settings.LANGUAGES):
        return chosen
    return translation.get_language_from_request(request)


class RequireSecondFactor:
    """HTTP middleware; calls of the API with a token are not concerned."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.MFA != "required" or not lacks_second_factor(request.user, request):
            return self.get_response(request)
        if request.path.startswith("/api/"):
            return JsonResponse({"detail": "Set up a second factor on your account page first."}, status=403)
        if resolve(request.path_info).url_name in ALLOWED:
            return self.get_response(request)
        messages.warning(
            request, translation.gettext("This site asks for a second factor. Set it up to go on.")
        )
        return redirect("mfa_activate_totp")


class RequireSecondFactorOfSockets:
    """The same for WebSockets: whoever lacks it counts as signed out."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = HttpRequest()
        request.session = scope["session"]
        if await sync_to_async(lacks_second_factor)(scope["user"], request):
            scope = {**scope, "user": AnonymousUser()}
        await self.app(scope, receive, send)
