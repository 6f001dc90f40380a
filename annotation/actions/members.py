"""Who belongs to a project. It always keeps a lead."""

from __future__ import annotations

import secrets

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from annotation import events
from annotation.models import Member, Project, User


class MemberError(Exception):
    """What cannot be done with a member, in a sentence for the lead; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def add_member(*, project: Project, username: str, role: str) -> Member:
    """Let somebody who has an account into the project.

    Raises:
        MemberError: nobody is called that, they belong to the project already, or there is no such role.
    """
    _check_role(role)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise MemberError(
            "username", f"Nobody here is called {username!r}. Create an account for them below."
        )
    member, added = Member.objects.get_or_create(project=project, user=user, defaults={"role": role})
    if not added:
        raise MemberError("username", f"{username} belongs to this project already, as {member.role}.")
    events.announce(events.project_group(project.pk), {"kind": "member"})
    return member


def create_account(*, project: Project, username: str) -> tuple[Member, str]:
    """A new account that annotates in the project, and its password, which is kept nowhere but as a hash.

    Raises:
        MemberError: the name is taken, or has signs that a name may not have.
    """
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError as error:
        raise MemberError("username", " ".join(error.messages)) from None
    password = secrets.token_urlsafe(12)
    validate_password(password)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, password=password)
            member = Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)
    except IntegrityError:
        raise MemberError(
            "username", f"The name {username!r} is taken. Add that person above, or choose another."
        ) from None
    return member, password


@transaction.atomic
def change_role(*, member: Member, role: str) -> Member:
    """
    Raises:
        MemberError: there is no such role, or the project would be left without a lead.
    """
    _check_role(role)
    _keep_a_lead(member, leaves_lead=role != Member.Role.LEAD)
    member.role = role
    member.save(update_fields=["role"])
    return member


@transaction.atomic
def remove_member(*, member: Member) -> None:
    """Take somebody out of the project; what they judged stays.

    Raises:
        MemberError: the project would be left without a lead.
    """
    _keep_a_lead(member, leaves_lead=True)
    member.delete()


def _check_role(role: str) -> None:
    if role not in Member.Role.values:
        raise MemberError("role", f"{role!r} is no role: there are {', '.join(Member.Role.values)}.")


def _keep_a_lead(member: Member, *, leaves_lead: bool) -> None:
    Project.objects.select_for_update().get(pk=member.project_id)  # two leads may leave at the same moment
    others = Member.objects.filter(project_id=member.project_id, role=Member.Role.LEAD).exclude(pk=member.pk)
    if leaves_lead and not others.exists():
        raise MemberError("role", "This is the project's only lead. Make somebody else a lead first.")
