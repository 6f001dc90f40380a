"""The database backend, as Django looks for it by this name."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

# NULL behind a pooler: the process id that its clients get is made up
TURN_JIT_OFF = "SELECT CASE WHEN pg_backend_pid() = %s THEN set_config('jit', 'off', false) END"


class DatabaseWrapper(base.DatabaseWrapper):
    """Without PostgreSQL's just-in-time compiler, which takes longer to compile a statement than ours take to run.

    Behind a pooler, such as PgBouncer, each transaction may have another session of the server, so nothing is left in one: no
    settings (`annotation.db.jit` has turned the compiler off for the role), no cursors outside of transactions, and no prepared
    statements, unless `DATABASE_PREPARE` says that the pooler knows them.
    """

    def _configure_connection(self, connection: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(TURN_JIT_OFF, [connection.info.backend_pid])
            ((is_direct,),) = cursor.fetchall()
        if not is_direct:
            self.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
            if settings.DATABASE_PREPARE is None:
                connection.prepare_threshold = None
        super()._configure_connection(connection)  # type: ignore[misc]
        return True
