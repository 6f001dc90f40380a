"""The database backend, as Django looks for it by this name."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Without PostgreSQL's just-in-time compiler, which takes longer to compile a statement than ours take to run.

    Set once a connection, not as an option of it: connection poolers refuse these.
    """

    def _configure_connection(self, connection: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SET jit = off")
        super()._configure_connection(connection)  # type: ignore[misc]
        return True
