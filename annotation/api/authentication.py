"""Authentication by an API token in the `Authorization` header, and the scopes of tokens."""

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

if TYPE_CHECKING:  # views import these classes: they are REST framework's defaults
    from rest_framework.views import APIView

SCHEMES = ("bearer", "token")
USE_RECORDED_EVERY = timedelta(minutes=1)


class ApiTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer palate_…`, or `Token palate_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The token's user and the token; None if the header has no token.

        Raises:
            AuthenticationFailed: the token is unknown or expired, or its owner is inactive.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if not words or words[0].lower() not in SCHEMES:
            return None
        if len(words) != 2:
            raise AuthenticationFailed("The header must be: Authorization: Bearer palate_…")
        token = ApiToken.objects.select_related("user").filter(digest=ApiToken.digest_of(words[1])).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("This token is unknown: it may have been revoked.")
        if token.expired:
            raise AuthenticationFailed("This token has expired. Create another on your account page.")
        _record_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _record_use(token: ApiToken) -> None:
    """Record when a token was last used, at most once a minute."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_RECORDED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - USE_RECORDED_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


class TokenScopePermission(BasePermission):
    """Whether the token's scope allows the request: any scope allows reading, `annotate` also views with the attribute
    `scope`, `lead` everything that its owner may do."""

    LEVEL = {ApiToken.Scope.READ: 0, ApiToken.Scope.ANNOTATE: 1, ApiToken.Scope.LEAD: 2}

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if request.method in SAFE_METHODS or not isinstance(token, ApiToken):
            return True
        needed = getattr(view, "scope", ApiToken.Scope.LEAD)
        may = "only read" if token.scope == ApiToken.Scope.READ else "read and annotate"
        self.message = f"This token may {may}. Create one with the scope “{needed}” on your account page."
        return self.LEVEL[ApiToken.Scope(token.scope)] >= self.LEVEL[needed]
