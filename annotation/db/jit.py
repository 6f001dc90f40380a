"""PostgreSQL's just-in-time compiler, turned off for the site's role in its database."""

from __future__ import annotations

from typing import Any

from django.db import connections

ALTER_ROLE = """
DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET jit = off', current_database()); END $$
"""


def turn_off(using: str, **kwargs: Any) -> None:
    """After each `migrate`, for sessions that a pooler opens; others turn it off themselves (`config.postgresql`)."""
    with connections[using].cursor() as cursor:
        cursor.execute(ALTER_ROLE)
