"""Values that annotators receive and cannot read: tickets, and ids that stand for rows.

Ids of rows count up, so that a lower one is older: beside each other they would tell which answer is from an earlier model.
"""

from __future__ import annotations

import base64
from functools import cache
from hashlib import blake2b
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableError(Exception):
    """A value that this site did not encrypt."""


def opaque_id(kind: Literal["item", "response"], pk: int | str, user_id: int) -> str:
    """16 hexadecimal digits that stand for a row: the same each time for one user, and different for every other."""
    return blake2b(
        f"{kind} {pk} {user_id}".encode(), key=_key(str(settings.SECRET_KEY), "id"), digest_size=8
    ).hexdigest()


def encrypt(data: bytes) -> str:
    """URL-safe text; its length depends on the length of the data alone, in steps of 16 bytes."""
    return _fernet().encrypt(data).decode()


def decrypt(text: str) -> bytes:
    """
    Raises:
        UnreadableError
    """
    try:
        return _fernet().decrypt(text)
    except (InvalidToken, ValueError):
        raise UnreadableError from None


def _fernet() -> MultiFernet:
    return _fernet_of(str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS))


@cache
def _fernet_of(*secrets: str) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_key(secret, "ticket"))) for secret in secrets])


@cache
def _key(secret: str, purpose: str) -> bytes:
    """32 bytes for one purpose, from the site's secret."""
    return blake2b(secret.encode(), person=purpose.encode(), digest_size=32).digest()
