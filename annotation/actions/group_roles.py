"""Roles by groups of the identity provider: whoever signs in by single sign-on gets the roles that `OIDC_ROLES` gives their
groups."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from annotation.actions.members import MemberError, add_member, change_role, remove_member
from annotation.models import Member, Project, User

log = logging.getLogger(__name__)

STAFF = "staff"


@dataclass(frozen=True)
class GroupRole:
    """The role that a group gives in a project; without a project, the right to create projects."""

    group: str
    project: str | None
    role: str


class GroupRolesError(ValueError):
    """What is wrong with an entry of `OIDC_ROLES`."""


def parse(entries: Collection[str]) -> list[GroupRole]:
    """Entries such as `labelers=helpfulness:annotator` and `ml-team=staff`.

    Raises:
        GroupRolesError
    """
    found = []
    for entry in entries:
        group, _, given = entry.rpartition("=")
        project, _, role = given.rpartition(":")
        if not group or (given != STAFF and (not project or role not in Member.Role.values)):
            raise GroupRolesError(
                f"OIDC_ROLES: {entry!r} is neither GROUP=PROJECT:ROLE, where ROLE is one of"
                f" {', '.join(Member.Role.values)}, nor GROUP={STAFF}."
            )
        found.append(GroupRole(group, project or None, role))
    return found


@transaction.atomic
def update(*, user: User, groups: Collection[str]) -> None:
    """Give the user the highest role of their groups in each project that `OIDC_ROLES` names, and take away the one that no
    group gives any more; likewise the right to create projects, if any group is to give it. A project's only lead stays."""
    rules = parse(settings.OIDC_ROLES)
    given = [rule for rule in rules if rule.group in groups]
    if any(rule.role == STAFF for rule in rules):
        is_staff = any(rule.role == STAFF for rule in given)
        if user.is_staff != is_staff and not user.is_superuser:
            user.is_staff = is_staff
            user.save(update_fields=["is_staff"])
    for project in Project.objects.filter(slug__in={rule.project for rule in rules if rule.project}):
        roles = {rule.role for rule in given if rule.project == project.slug}
        role = next((role for role in Member.Role.values if role in roles), None)  # the highest is first
        try:
            _set_role(project, user, role)
        except MemberError as error:
            log.warning("%s keeps their role in %s: %s", user.pseudonym, project.slug, error)


def _set_role(project: Project, user: User, role: str | None) -> None:
    member = Member.objects.filter(project=project, user=user).select_related("project", "user").first()
    if member is None:
        if role is not None:
            add_member(project=project, username=user.username, role=role, actor=user)
    elif role is None:
        remove_member(member=member, actor=user)
    else:
        change_role(member=member, role=role, actor=user)
