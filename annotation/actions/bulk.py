"""Acts on several rows of a list, and taking them back: what an undo needs is remembered for an hour."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from annotation.models import Project, User

MAX_ROWS = 1000
"""On so many rows one request acts."""
UNDO_S = 3600

Change = dict[str, Any]
"""What an act changed of one row: its `id`, and what its undo needs."""


@dataclass(frozen=True)
class Undo:
    """An act that can be taken back by whoever did it."""

    act: str
    changes: list[Change]


def remember(*, user: User, project: Project, list_name: str, act: str, changes: list[Change]) -> str:
    """A token with which `user` takes the act back within an hour; empty while nothing can be remembered."""
    token = secrets.token_urlsafe(16)
    key = _key(token, user, project, list_name)
    cache.set(key, Undo(act, changes), UNDO_S)
    return token if cache.get(key) else ""


def recall(*, token: str, user: User, project: Project, list_name: str) -> Undo | None:
    """What to take back, once; None where it was already, or is too long ago."""
    key = _key(token, user, project, list_name)
    undo: Undo | None = cache.get(key)
    return undo if undo is not None and cache.delete(key) else None


def _key(token: str, user: User, project: Project, list_name: str) -> str:
    return f"undo:{user.pk}:{project.pk}:{list_name}:{token[:40]}"
