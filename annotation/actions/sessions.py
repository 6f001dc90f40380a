"""Sessions: where a user is signed in, and signing them out there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import ua_parser
from allauth.usersessions.models import UserSession
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.backends.cached_db import SessionStore
from django.utils.translation import gettext as _

from annotation.models import User

MAX_SESSIONS = 30
"""Of one user."""


@dataclass(frozen=True)
class Session:
    """A session of a browser; `browser` is such as "Firefox on Linux"."""

    pk: int
    browser: str
    address: str
    since: datetime
    is_current: bool


def sessions(user: User, current_key: str | None) -> list[Session]:
    """The user's sessions that have not ended: the current one, then the latest first."""
    expected = user.get_session_auth_hash()  # sessions from before a change of the password have another
    found = [
        Session(row.pk, _browser(row.user_agent), row.ip, row.created_at, row.session_key == current_key)
        for row in UserSession.objects.filter(user_id=user.pk)
        if SessionStore(row.session_key).get(HASH_SESSION_KEY) == expected
    ]
    return sorted(found, key=lambda session: (session.is_current, session.since), reverse=True)


def end_sessions(user: User, *, pk: int | None = None, except_key: str | None = None) -> int:
    """End one of the user's sessions, or all but one. Returns how many were ended."""
    rows = UserSession.objects.filter(user_id=user.pk).exclude(session_key=except_key or "")
    ended = list(rows if pk is None else rows.filter(pk=pk))
    for row in ended:
        row.end()
    return len(ended)


def end_oldest_sessions(user: User) -> None:
    """End the oldest sessions of somebody with very many: each is looked at when they sign in and on their account page."""
    for row in UserSession.objects.filter(user_id=user.pk).order_by("-created_at", "-pk")[MAX_SESSIONS:]:
        row.end()


def _browser(user_agent: str) -> str:
    parsed = ua_parser.parse(user_agent)
    if parsed.user_agent is None:
        return _("Unknown browser")
    if parsed.os is None:
        return parsed.user_agent.family
    return _("%(browser)s on %(system)s") % {"browser": parsed.user_agent.family, "system": parsed.os.family}
