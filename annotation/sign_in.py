"""How people sign in: what django-allauth asks of the site. Passwords, second factors, single sign-on and e-mails."""

from __future__ import annotations

import ipaddress
import logging
from typing import Any, NoReturn

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import ResetPasswordForm
from allauth.account.models import EmailAddress
from allauth.account.utils import filter_users_by_email
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from annotation import opaque, tasks
from annotation.actions import group_roles
from annotation.actions.sessions import end_oldest_sessions
from annotation.models import User

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """Accounts are made by leads, invitations and single sign-on; nobody can sign up by themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Wrong passwords are counted by `config.sign_in_limits`."""

    def _rollback_login_failed_rl_usage(self) -> None:
        """Nothing was counted."""

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that the server has seen, or that a trusted proxy named."""
        try:
            return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0]))
        except ValueError:  # a Unix socket
            return "::"

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Make a confirmed address the account's, unless somebody entered it for another account."""
        others = User.objects.exclude(pk=email_address.user_id)
        if others.filter(email__iexact=email_address.email).exists():
            messages.error(request, f"{email_address.email} is the address of another account.")
            return False
        return super().confirm_email(request, email_address)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")

    def post_login(
        self, request: HttpRequest, user: User, *, signal_kwargs: dict[str, Any] | None, **kwargs: Any
    ) -> HttpResponse:
        """Whoever comes by single sign-on gets the roles of their groups, and a session that ends while the groups are fresh."""
        login: SocialLogin | None = (signal_kwargs or {}).get("sociallogin")
        if login is not None:
            group_roles.update(user=user, groups=_groups(login))
            request.session.set_expiry(settings.OIDC_SESSION_HOURS * 3600)
        response: HttpResponse = super().post_login(request, user, signal_kwargs=signal_kwargs, **kwargs)
        end_oldest_sessions(user)
        return response

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A worker sends it: how long that takes must not tell whether an account exists."""
        message = self.render_mail(template_prefix, email, context)
        tasks.send_email.delay(message.to, message.subject, message.body)


def _groups(login: SocialLogin) -> set[str]:
    """The groups in the ID token and in the answer of the userinfo endpoint."""
    data = login.account.extra_data
    found: set[str] = set()
    for claims in (data, data.get("id_token"), data.get("userinfo")):
        groups = (claims or {}).get(settings.OIDC_GROUPS_CLAIM) or []
        found.update([groups] if isinstance(groups, str) else map(str, groups))
    return found


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Single sign-on: the provider of the settings, and accounts made at the first sign-in."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse to make a second account for an e-mail address: whoever entered it first need not be its owner, so the accounts
        are not joined either. Their owner connects them while signed in."""
        email = sociallogin.user.email
        if sociallogin.state.get("process") == "connect" or sociallogin.is_existing or not email:
            return
        if filter_users_by_email(email):
            refuse(
                request,
                f"There is an account with the e-mail address {email}. Sign in to it with its password, and connect"
                f" {settings.OIDC_NAME} on its account page.",
            )

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: str | None = None, exception: Any = None, **_: Any
    ) -> None:
        if error == AuthError.CANCELLED:
            refuse(request, f"You cancelled signing in with {settings.OIDC_NAME}.")
        log.error("Single sign-on failed: %s", exception or error)
        refuse(request, f"Signing in with {settings.OIDC_NAME} failed. Try again, or ask an administrator.")

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("account")


def refuse(request: HttpRequest, message: str) -> NoReturn:
    """Lead back to where single sign-on began, with a message."""
    messages.error(request, message)
    raise ImmediateHttpResponse(redirect("account" if request.user.is_authenticated else "account_login"))


class MfaAdapter(DefaultMFAAdapter):
    """Second factors, where `MFA` is on; their secrets are encrypted with the site's key."""

    def is_mfa_enabled(self, user: User | AnonymousUser, types: list[str] | None = None) -> bool:
        return settings.MFA != "off" and super().is_mfa_enabled(user, types)

    def get_totp_issuer(self) -> str:
        return f"Palate {self._get_site_name()}"

    def get_totp_label(self, user: User) -> str:
        return user.username

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return settings.MFA != "required"

    def encrypt(self, text: str) -> str:
        return opaque.encrypt(text.encode())

    def decrypt(self, encrypted_text: str) -> str:
        return opaque.decrypt(encrypted_text).decode()


class ResetForm(ResetPasswordForm):
    """Asks for an e-mail address. Accounts without a password sign in by single sign-on, and get none by this way."""

    users: list[User]

    def clean_email(self) -> str:
        email: str = super().clean_email()
        self.users = [user for user in self.users if user.has_usable_password()]
        return email
