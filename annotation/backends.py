"""Authentication backend that loads the user, with the number of their unread notifications, by a prepared statement."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend

from annotation.db import prepared_statements
from annotation.models import User

_USER = prepared_statements.Columns(User, "account")
MAX_UNREAD = 100
"""As far as unread notifications are counted."""
# every page shows the number: counted here, by an index, it costs no query of its own
USER = f"""
SELECT (SELECT count(*) FROM (SELECT FROM annotation_notification
                              WHERE user_id = account.id AND read_at IS NULL LIMIT {MAX_UNREAD}) AS unread), {_USER}
FROM annotation_user AS account WHERE id = %(user)s
"""


class AccountBackend(ModelBackend):
    """Django's `ModelBackend`, with a prepared statement for the query that every request starts with."""

    def get_user(self, user_id: int) -> User | None:
        rows = prepared_statements.rows(USER, {"user": user_id})
        if not rows:
            return None
        unread, *columns = rows[0]
        user = _USER.build(columns)
        user.unread_notifications = unread
        return user if self.user_can_authenticate(user) else None
