"""Who is signed in."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend

from annotation.db import prepared_statements
from annotation.models import User

_USER = prepared_statements.Columns(User, "person")
USER = f"SELECT {_USER} FROM annotation_user AS person WHERE id = %(user)s"


class AccountBackend(ModelBackend):
    """Django's own, which asks who somebody is by a prepared statement: every request begins with it."""

    def get_user(self, user_id: int) -> User | None:
        found = prepared_statements.rows(USER, {"user": user_id})
        user = _USER.build(found[0]) if found else None
        return user if user and self.user_can_authenticate(user) else None
