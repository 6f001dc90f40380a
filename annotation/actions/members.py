"""Members of a project: adding, removing, adding back, roles and new accounts. A project always has a lead."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from annotation import audit, events
from annotation.actions.batches import leave_batches
from annotation.models import ApiToken, AuditEntry, Member, Project, User

KEPT = ("qualified_at", "paused_at")
"""What a removed member has again when they come back."""
MAX_REMOVED = 50
ERASED = "erased-"
"""How the names of erased accounts begin."""
ROLE_NAMES = {
    Member.Role.LEAD: gettext_lazy("lead"),
    Member.Role.REVIEWER: gettext_lazy("reviewer"),
    Member.Role.ANNOTATOR: gettext_lazy("annotator"),
}
"""Of roles, within a sentence."""
MAX_USERNAME_CHARS = User._meta.get_field("username").max_length or 0


class MemberError(Exception):
    """Why a change of members is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def add_member(*, project: Project, username: str, role: str, actor: User | None) -> Member:
    """Add a user to the project by their name. actor: None if the site does it by itself, here and below.

    Raises:
        MemberError: there is no such user, they are a member already, or there is no such role.
    """
    _check_role(role)
    user = User.objects.filter(username__iexact=username, is_active=True).first()
    if user is None:
        raise MemberError(
            "username",
            _("There is no user %(name)s. Create an account for them below.") % {"name": repr(username)},
        )
    member, added = join(project=project, user=user, role=role)
    if not added:
        raise MemberError(
            "username",
            _("%(name)s is a member of this project already, as %(role)s.")
            % {"name": username, "role": ROLE_NAMES[Member.Role(member.role)]},
        )
    _record("member.added", member, actor, role=role)
    events.announce(events.project_group(project.pk), {"kind": "member"})
    return member


def join(*, project: Project, user: User, role: str) -> tuple[Member, bool]:
    """Make the user a member, however they come. Who was one before has their qualification and their pause again. Returns the
    membership, and whether it is new."""
    removals = AuditEntry.objects.filter(project=project, verb="member.removed", data__user=user.pk)
    last = removals.order_by("-id").first()
    kept = {name: last.data.get(name) for name in KEPT} if last else {}
    if kept.get("paused_at"):
        with override(settings.LANGUAGE_CODE):  # whoever adds them: they read it
            kept["paused_reason"] = _("Paused before you were removed from the project.")
    member, added = Member.objects.get_or_create(project=project, user=user, defaults={"role": role, **kept})
    if added and last:
        member.refresh_from_db()  # times are texts in the trail
    return member, added


@dataclass(frozen=True)
class NewAccount:
    """A new member with their password and, for a machine, the key of an API token; both are stored only as hashes."""

    member: Member
    password: str
    key: str = ""


def create_account(
    *, project: Project, username: str, actor: User, account: str = User.Account.PERSON
) -> NewAccount:
    """Create an account that annotates in the project: for a person, or for a script or an AI labeler.

    Raises:
        MemberError: the name is taken, too long, or has characters that are not allowed.
    """
    check_username(username)
    password = secrets.token_urlsafe(12)
    validate_password(password)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, password=password, account=account)
            member = Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)
            _record("member.added", member, actor, role=member.role, account=account)
            key = ""
            if account == User.Account.MACHINE:
                _token, key = ApiToken.issue(
                    user=user, name="Made with the account", scope=ApiToken.Scope.ANNOTATE
                )
    except IntegrityError:
        raise MemberError(
            "username",
            _("The name %(name)s is taken. Add that person above, or choose another.")
            % {"name": repr(username)},
        ) from None
    return NewAccount(member, password, key)


def check_username(username: str) -> None:
    """Check a name in the form in which it is stored, NFKC.

    Raises:
        MemberError: it is too long, or has characters that are not allowed.
    """
    normalized = User.normalize_username(username)
    if normalized.lower().startswith(ERASED):
        raise MemberError(
            "username", _("Names that begin with %(start)s are of erased accounts.") % {"start": repr(ERASED)}
        )
    if len(normalized) > MAX_USERNAME_CHARS:
        raise MemberError(
            "username", _("A name may have at most %(n)s characters.") % {"n": MAX_USERNAME_CHARS}
        )
    try:
        UnicodeUsernameValidator()(normalized)
    except ValidationError as error:
        raise MemberError("username", " ".join(error.messages)) from None


@transaction.atomic
def change_role(*, member: Member, role: str, actor: User | None) -> Member:
    """Change a member's role.

    Raises:
        MemberError: there is no such role, or the project would be left without a lead.
    """
    _check_role(role)
    require_other_lead(member, leaves_lead=role != Member.Role.LEAD)
    before = member.role
    member.role = role
    member.save(update_fields=["role"])
    if role != before:
        _record("member.role", member, actor, before=before, role=role)
    return member


@transaction.atomic
def remove_member(*, member: Member, actor: User | None) -> None:
    """Remove a member from the project; their judgments stay.

    Raises:
        MemberError: the project would be left without a lead.
    """
    require_other_lead(member, leaves_lead=True)
    state = {name: value for name in KEPT if (value := getattr(member, name)) is not None}
    _record("member.removed", member, actor, role=member.role, **state)
    leave_batches(user=member.user, project=member.project)
    member.delete()


def removed_members(project: Project) -> dict[User, AuditEntry]:
    """Users who were removed from the project lately and can be added back, each with the entry of their last removal; the
    latest first."""
    entries = AuditEntry.objects.filter(project=project, verb="member.removed").order_by("-id")
    last: dict[int, AuditEntry] = {}
    for entry in entries[:MAX_REMOVED]:
        last.setdefault(entry.data["user"], entry)
    users = User.objects.filter(is_active=True).exclude(memberships__project=project).in_bulk(last)
    return {users[pk]: entry for pk, entry in last.items() if pk in users}


@transaction.atomic
def restore_member(*, project: Project, user_id: int, actor: User) -> Member:
    """Add a removed member back, with the role they had.

    Raises:
        MemberError: they were not removed from the project lately, or are in it again.
    """
    removed = {user.pk: (user, entry) for user, entry in removed_members(project).items()}
    if user_id not in removed:
        raise MemberError("member", _("There is nobody to add back. Reload the page."))
    user, entry = removed[user_id]
    return add_member(project=project, username=user.username, role=entry.data["role"], actor=actor)


def _record(verb: str, member: Member, actor: User | None, **data: object) -> None:
    """Record an entry that identifies the member by pseudonym, so that erasing an account leaves no name in the trail."""
    audit.record(
        verb,
        project=member.project,
        actor=actor,
        subject=member.user.pseudonym,
        user=member.user_id,
        **data,
    )


def _check_role(role: str) -> None:
    if role not in Member.Role.values:
        raise MemberError(
            "role",
            _("%(role)s is not a role: there are %(roles)s.")
            % {"role": repr(role), "roles": ", ".join(Member.Role.values)},
        )


def require_other_lead(member: Member, *, leaves_lead: bool) -> None:
    """Refuse a change that would leave a project without a lead.

    Raises:
        MemberError
    """
    # two leads may leave at the same moment; `no_key`, so as not to wait for an import
    Project.objects.select_for_update(no_key=True).get(pk=member.project_id)
    others = Member.objects.filter(project_id=member.project_id, role=Member.Role.LEAD).exclude(pk=member.pk)
    if leaves_lead and not others.exists():
        raise MemberError(
            "role",
            _("This is the project's only lead. Make somebody else a lead of %(project)s first.")
            % {"project": member.project},
        )
