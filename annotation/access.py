"""Who may do what. A view's first line loads its object through one of these; after it nobody checks again."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from annotation.models import Member, Project, User

Role = Member.Role
EVERYBODY = (Role.LEAD, Role.REVIEWER, Role.ANNOTATOR)


def person(request: HttpRequest) -> User:
    """The signed-in user of a view behind `login_required`."""
    return cast("User", request.user)


def member_for(user: User | AnonymousUser, slug: str, *roles: Role) -> Member:
    """The user's membership in a project, with the project, if they have one of the roles in it (any role, if none is
    named).

    Raises:
        Http404: there is no such project, or they are not a member: outsiders cannot tell which.
        PermissionDenied: they are a member in another role.
    """
    member = Member.objects.select_related("project").filter(project__slug=slug, user=user.pk).first()
    if member is None:
        raise Http404("No such project.")
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
