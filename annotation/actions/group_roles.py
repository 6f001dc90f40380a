"""Roles by groups of the identity provider: whoever signs in by single sign-on gets the roles that `OIDC_ROLES` gives their
groups."""

from __future__ import annotations

import logging
from collections.abc import Collection

from django.conf import settings
from django.db import transaction

from annotation.actions.members import MemberError, add_member, change_role, remove_member
from annotation.logic.group_roles import ROLES, STAFF
from annotation.models import Member, Project, User

log = logging.getLogger(__name__)


@transaction.atomic
def update(*, user: User, groups: Collection[str]) -> None:
    """Give the user the highest role of their groups in each project that `OIDC_ROLES` names, and take away the one that no
    group gives any more; likewise being staff, if any group is to give that. A project's only lead stays."""
    given = [rule for rule in settings.OIDC_ROLES if rule.group in groups]
    if any(rule.role == STAFF for rule in settings.OIDC_ROLES):
        is_staff = any(rule.role == STAFF for rule in given)
        if user.is_staff != is_staff and not user.is_superuser:
            user.is_staff = is_staff
            user.save(update_fields=["is_staff"])
    slugs = {rule.project for rule in settings.OIDC_ROLES if rule.project}
    projects = Project.objects.filter(slug__in=slugs)
    for slug in slugs - {project.slug for project in projects}:
        log.warning("OIDC_ROLES: there is no project %s", slug)
    for project in projects:
        roles = {rule.role for rule in given if rule.project == project.slug}
        role = next((role for role in ROLES if role in roles), None)
        try:
            _set_role(project, user, role)
        except MemberError as error:
            log.warning("%s keeps their role in %s: %s", user.pseudonym, project.slug, error)


def _set_role(project: Project, user: User, role: str | None) -> None:
    """In the audit trail the site itself did it."""
    member = Member.objects.filter(project=project, user=user).select_related("project", "user").first()
    if member is None:
        if role is not None:
            add_member(project=project, username=user.username, role=role, actor=None)
    elif role is None:
        remove_member(member=member, actor=None)
    else:
        change_role(member=member, role=role, actor=None)
