"""Access control. A view's first line loads its object through one of these functions; after it nothing is checked again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from annotation.db import prepared_statements
from annotation.models import Member, Project, User

Role = Member.Role
EVERYBODY = (Role.LEAD, Role.REVIEWER, Role.ANNOTATOR)

_MEMBER = prepared_statements.Columns(Member, "member")
_PROJECT = prepared_statements.Columns(Project, "project")
# runs at the start of every page of a project
MEMBER = f"""
SELECT {_MEMBER}, {_PROJECT}
FROM annotation_member AS member JOIN annotation_project AS project ON project.id = member.project_id
WHERE project.slug = %(slug)s AND member.user_id = %(user)s
"""

# a project's slug, and the roles of which the user needs one
Check = tuple[str, tuple[str, ...]]
_checks: ContextVar[list[Check] | None] = ContextVar("checks", default=None)


@contextmanager
def record_checks() -> Iterator[list[Check]]:
    """Record the checks that `member_for` makes within the context, in order, so that they can be repeated later."""
    checks: list[Check] = []
    token = _checks.set(checks)
    try:
        yield checks
    finally:
        _checks.reset(token)


def current_user(request: HttpRequest) -> User:
    """The signed-in user of a view behind `login_required`."""
    return cast("User", request.user)


def member_for(user: User | AnonymousUser, slug: str, *roles: Role) -> Member:
    """The user's membership in a project, with the project loaded.

    Args:
        roles: of which the user needs one; any role will do if none is named.

    Raises:
        Http404: there is no such project, or the user is not a member: outsiders cannot tell which.
        PermissionDenied: the user is a member in another role.
    """
    if (checks := _checks.get()) is not None:
        checks.append((slug, roles))
    # PostgreSQL refuses NUL, which a query string may have, unlike a path
    rows = [] if "\0" in slug else prepared_statements.rows(MEMBER, {"slug": slug, "user": user.pk})
    if not rows:
        raise Http404("No such project.")
    member = _MEMBER.build(rows[0][: len(_MEMBER)])
    member.project = _PROJECT.build(rows[0][len(_MEMBER) :])
    if member.role not in (roles or EVERYBODY):
        raise PermissionDenied(f"This needs the role of {' or '.join(roles)} in {member.project}.")
    return member


def project_for(user: User | AnonymousUser, slug: str, *roles: Role) -> Project:
    """The project of `member_for`, with the same checks."""
    return member_for(user, slug, *roles).project


def may_create_projects(user: User) -> bool:
    return user.is_staff


def require_project_creator(user: User) -> None:
    if not may_create_projects(user):
        raise PermissionDenied("Only staff may create projects: ask an administrator.")


def require_staff(user: User) -> None:
    if not user.is_staff:
        raise PermissionDenied("This is for staff only: ask an administrator.")
