"""Who may do what. A view's first line loads its object through one of these; after it nobody checks again."""

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
# every page of a project begins with it
MEMBER = f"""
SELECT {_MEMBER}, {_PROJECT}
FROM annotation_member AS member JOIN annotation_project AS project ON project.id = member.project_id
WHERE project.slug = %(slug)s AND member.user_id = %(user)s
"""

# a project, and the roles of which one is needed in it
Check = tuple[str, tuple[str, ...]]
_checks: ContextVar[list[Check] | None] = ContextVar("checks", default=None)


@contextmanager
def record_checks() -> Iterator[list[Check]]:
    """What is asked of `member_for` within it, in order; asked again, it tells whether the same person may still do it."""
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
    """The user's membership in a project, with the project, if they have one of the roles in it (any role, if none is
    named).

    Raises:
        Http404: there is no such project, or they are not a member: outsiders cannot tell which.
        PermissionDenied: they are a member in another role.
    """
    if (checks := _checks.get()) is not None:
        checks.append((slug, roles))
    found = prepared_statements.rows(MEMBER, {"slug": slug, "user": user.pk})
    if not found:
        raise Http404("No such project.")
    member = _MEMBER.build(found[0][: len(_MEMBER)])
    member.project = _PROJECT.build(found[0][len(_MEMBER) :])
    if member.role not in (roles or EVERYBODY):
        raise PermissionDenied(f"This needs the role of {' or '.join(roles)} in {member.project}.")
    return member


def project_for(user: User | AnonymousUser, slug: str, *roles: Role) -> Project:
    """The project of `member_for`, which says who gets it."""
    return member_for(user, slug, *roles).project


def may_create_projects(user: User) -> bool:
    return user.is_staff


def require_project_creator(user: User) -> None:
    if not may_create_projects(user):
        raise PermissionDenied("Only staff may create projects: ask an administrator.")


def require_staff(user: User) -> None:
    if not user.is_staff:
        raise PermissionDenied("This is for staff: ask an administrator.")
