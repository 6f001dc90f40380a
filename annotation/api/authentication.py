"""Who calls: a token in the `Authorization` header, or the session of someone who is signed in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from annotation.models import ApiToken, User

if TYPE_CHECKING:  # the views import their default classes, these among them
    from rest_framework.views import APIView

SCHEMES = ("bearer", "token")
USE_IS_NOTED_EVERY = timedelta(minutes=1)


class ApiTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer palate_…`, or `Token palate_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The token's user and the token; None when the header holds no token.

        Raises:
            AuthenticationFailed: there is no such token, it has expired, or its owner may not sign in.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if not words or words[0].lower() not in SCHEMES:
            return None
        if len(words) != 2:
            raise AuthenticationFailed("The header must be: Authorization: Bearer palate_…")
        token = ApiToken.objects.select_related("user").filter(digest=ApiToken.digest_of(words[1])).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("This token is not known: it may have been revoked.")
        if token.expired:
            raise AuthenticationFailed("This token has expired. Make another on your account page.")
        _note_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _note_use(token: ApiToken) -> None:
    """Keep when a token was last used, to the minute: not one write for every call."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_IS_NOTED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - USE_IS_NOTED_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


class ScopeAllows(BasePermission):
    """What a token may do beside reading: nothing, with the scope `annotate` the doors that say so by their attribute
    `scope`, with `lead` everything that its owner may."""

    WIDTH = {ApiToken.Scope.READ: 0, ApiToken.Scope.ANNOTATE: 1, ApiToken.Scope.LEAD: 2}

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if request.method in SAFE_METHODS or not isinstance(token, ApiToken):
            return True
        needed = getattr(view, "scope", ApiToken.Scope.LEAD)
        may = "only read" if token.scope == ApiToken.Scope.READ else "read and annotate"
        self.message = f"This token may {may}. Make one with the scope “{needed}” on your account page."
        return self.WIDTH[ApiToken.Scope(token.scope)] >= self.WIDTH[needed]
