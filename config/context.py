"""What every template may ask of the settings."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def sign_in_settings(_: HttpRequest) -> dict[str, object]:
    """`mfa`, whether there are second factors; `mfa_required`, whether everybody needs one; `oidc`, the name of single sign-on,
    or nothing; `sends_email`."""
    return {
        "mfa": settings.MFA != "off",
        "mfa_required": settings.MFA == "required",
        "oidc": settings.OIDC_NAME if settings.OIDC_URL else "",
        "sends_email": settings.EMAIL_ENABLED,
    }
