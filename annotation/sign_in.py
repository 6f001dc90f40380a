"""How people sign in: what django-allauth asks of the site. Passwords, second factors, single sign-on and e-mails."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, NoReturn

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import AddEmailForm, ResetPasswordForm
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.core.validators import MaxLengthValidator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import opaque, tasks
from annotation.actions import group_roles
from annotation.actions.members import MemberError, check_username
from annotation.actions.sessions import end_oldest_sessions
from annotation.models import User
from config.proxies import client_address

log = logging.getLogger(__name__)

MAX_EMAIL_CHARS = User._meta.get_field("email").max_length or 0


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
        return str(client_address(request) or "::")

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Make a confirmed address the account's, unless somebody entered it for another account."""
        others = User.objects.exclude(pk=email_address.user_id)
        if others.filter(email__iexact=email_address.email).exists():
            sentence = _("%(email)s is the address of another account.")
            messages.error(request, sentence % {"email": email_address.email})
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
            # a time, not a number of seconds: those would count from the session's last change
            request.session.set_expiry(timezone.now() + timedelta(hours=settings.OIDC_SESSION_HOURS))
        response: HttpResponse = super().post_login(request, user, signal_kwargs=signal_kwargs, **kwargs)
        end_oldest_sessions(user)
        return response

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A worker sends it: how long that takes must not tell whether an account exists."""
        message = self.render_mail(template_prefix, email, {**context, "host": self.request.get_host()})
        tasks.send_email.delay(message.to, message.subject, message.body)


def _claims(login: SocialLogin) -> list[dict[str, Any]]:
    """Those of the ID token, and of the userinfo endpoint's answer."""
    data = login.account.extra_data
    return [data[name] for name in ("id_token", "userinfo") if isinstance(data.get(name), dict)]


def _groups(login: SocialLogin) -> set[str]:
    found: set[str] = set()
    for claims in _claims(login):
        groups = claims.get(settings.OIDC_GROUPS_CLAIM)
        listed = groups if isinstance(groups, list) else [groups]
        found.update(group for group in listed if isinstance(group, str))
    return found


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Single sign-on: the provider of the settings, and accounts made at the first sign-in."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse to make a second account for a name or an e-mail address. Whoever has it need not be the same person, so the
        accounts are not joined either: their owner connects them while signed in."""
        subjects = {claims.get("sub") for claims in _claims(sociallogin)}
        if len(subjects) != 1 or not all(isinstance(sub, str) and sub for sub in subjects):
            # OpenID Connect Core, 5.3.2
            problem = f"the ID token and the userinfo are about {subjects}"
            raise ValueError(problem)  # in the log only
        if sociallogin.state.get("process") == "connect" or sociallogin.is_existing:
            return
        if email := sociallogin.user.email:
            # what others have entered and not confirmed must not keep its owner out
            pending = EmailAddress.objects.filter(email=email.lower(), verified=False)
            pending.exclude(user__email__iexact=email).delete()
            sentence = _(
                "There is an account with the e-mail address %(email)s. If it is yours, sign in with its password and connect"
                " %(name)s on its account page; otherwise ask an administrator."
            )
            _refuse_taken(request, sentence, {"email": email}, User.objects.filter(email__iexact=email))
        if name := sociallogin.user.username:
            sentence = _(
                "There is an account with the user name %(username)s. If it is yours, sign in with its password and connect"
                " %(name)s on its account page; otherwise ask an administrator."
            )
            _refuse_taken(request, sentence, {"username": name}, User.objects.filter(username__iexact=name))

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Names in the form in which they are stored; what is no name is left to the e-mail address."""
        name = User.normalize_username(str(data.get("username") or ""))
        try:
            check_username(name)
        except MemberError:
            name = ""
        user: User = super().populate_user(request, sociallogin, {**data, "username": name})
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: str | None = None,
        exception: Any = None,
        **kwargs: Any,
    ) -> None:
        if request.GET.get("error") == "access_denied":
            refuse(request, _("You cancelled signing in with %(name)s.") % {"name": settings.OIDC_NAME})
        log.error("Single sign-on failed: %s", exception or error)
        sentence = _("Signing in with %(name)s failed. Try again, or ask an administrator.")
        refuse(request, sentence % {"name": settings.OIDC_NAME})

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("account")


def _refuse_taken(
    request: HttpRequest, sentence: str, values: dict[str, str], accounts: QuerySet[User]
) -> None:
    if accounts.exists():
        refuse(request, sentence % {**values, "name": settings.OIDC_NAME})


def refuse(request: HttpRequest, message: str) -> NoReturn:
    """Lead back to where single sign-on began, with a message."""
    messages.error(request, message)
    raise ImmediateHttpResponse(redirect("account" if request.user.is_authenticated else "account_login"))


class MfaAdapter(DefaultMFAAdapter):
    """Second factors, where `MFA` is on; their secrets are encrypted with the site's key."""

    def is_mfa_enabled(self, user: User | AnonymousUser, types: list[str] | None = None) -> bool:
        """Recovery codes alone are none."""
        return settings.MFA != "off" and super().is_mfa_enabled(user, types or [Authenticator.Type.TOTP])

    def get_totp_issuer(self) -> str:
        return f"Palate {self._get_site_name()}"

    def get_totp_label(self, user: User) -> str:
        return user.username

    def encrypt(self, text: str) -> str:
        return opaque.encrypt(text.encode())

    def decrypt(self, encrypted_text: str) -> str:
        return opaque.decrypt(encrypted_text).decode()


class ResetForm(ResetPasswordForm):
    """Asks for an e-mail address: that of the account, not one that is to be confirmed or was before. Accounts without a password
    sign in by single sign-on, and get none by this way."""

    users: list[User]

    def clean_email(self) -> str:
        email: str = super().clean_email()
        self.users = [
            user for user in self.users if user.has_usable_password() and user.email == email.lower()
        ]
        return email


class AddAddressForm(AddEmailForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].validators.append(MaxLengthValidator(MAX_EMAIL_CHARS))
