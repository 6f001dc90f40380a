"""Ids that no test had before."""

from __future__ import annotations

from itertools import count

from django.db import connection

_bases = count(1_000_000, 1_000_000)


def use_new_ids() -> None:
    """Have all tables go on with ids that none had, after a test that set them back: the site's processes run through many
    tests, and keep what never changes by its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(seqrelid::regclass, %s) FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid"
            " WHERE relnamespace = 'public'::regnamespace",
            [next(_bases)],
        )
