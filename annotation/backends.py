"""Authentication backend that loads the user by a prepared statement."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend

from annotation.db import prepared_statements
from annotation.models import User

_USER = prepared_statements.Columns(User, "account")
USER = f"SELECT {_USER} FROM annotation_user AS account WHERE id = %(user)s"


class AccountBackend(ModelBackend):
    """Django's `ModelBackend`, with a prepared statement for the query that every request starts with."""

    def get_user(self, user_id: int) -> User | None:
        rows = prepared_statements.rows(USER, {"user": user_id})
        user = _USER.build(rows[0]) if rows else None
        return user if user and self.user_can_authenticate(user) else None
