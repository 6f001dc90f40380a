"""Users, their roles in projects, invitations, and API tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from annotation.logic.limits import MAX_REASON_CHARS
from annotation.models.projects import Guideline, Project


def new_pseudonym() -> str:
    return f"annotator-{secrets.token_hex(4)}"


class Accounts(UserManager["User"]):
    """Accounts, found by name without case."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username__iexact=User.normalize_username(username or ""))


class User(AbstractUser):
    """A user account. Exports identify users by `pseudonym` only."""

    class Account(models.TextChoices):
        PERSON = "person", _("A person")
        MACHINE = "machine", _("A script or an AI labeler")

    class JudgingLayout(models.TextChoices):
        """How the judging screens place the answers of an item."""

        AUTO = "auto", _("Automatic")
        SIDE = "side", _("Side by side")
        STACKED = "stacked", _("Stacked")
        SINGLE = "single", _("One at a time")

    class JudgingTextSize(models.TextChoices):
        SMALL = "small", _("Small")
        NORMAL = "normal", _("Normal")
        LARGE = "large", _("Large")
        X_LARGE = "x-large", _("Extra large")

    pseudonym = models.CharField(max_length=40, unique=True, default=new_pseudonym, editable=False)
    account = models.CharField(max_length=7, choices=Account, default=Account.PERSON)
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)
    judging_layout = models.CharField(max_length=7, choices=JudgingLayout, default=JudgingLayout.AUTO)
    judging_text_size = models.CharField(
        max_length=7, choices=JudgingTextSize, default=JudgingTextSize.NORMAL
    )
    judging_shortcuts = models.BooleanField(
        default=True, help_text="Keys that type a character do something."
    )
    judging_keys = models.JSONField(
        default=dict, blank=True, help_text="Keys that differ from the defaults, by command."
    )
    time_zone = models.CharField(
        max_length=64, blank=True, help_text="IANA name; empty for the site's. Pages show times in it."
    )
    language = models.CharField(max_length=10, blank=True, help_text="Empty: as the browser asks.")
    email_notifications = models.BooleanField(
        default=True,
        help_text="Whether what concerns their work is reported by e-mail (`notifications.EMAILED`).",
    )
    digest_at = models.DateTimeField(null=True, editable=False, help_text="When the last digest was sent.")

    objects: ClassVar[Accounts] = Accounts()
    # how many notifications are unread, where the user was loaded for a page (`annotation.backends`)
    unread_notifications: int = 0

    class Meta(AbstractUser.Meta):
        # by upper case, in which Django compares names without case
        constraints = [
            models.UniqueConstraint(
                Upper("username"),
                name="usernames_differ_by_more_than_case",
                violation_error_message=_("A user with that username already exists."),
            ),
            models.UniqueConstraint(
                Upper("email"),
                condition=~models.Q(email=""),
                name="emails_differ_by_more_than_case",
                violation_error_message=_("A user with that email address already exists."),
            ),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.email = self.email.lower()  # in which django-allauth looks for it
        super().save(*args, **kwargs)


class Member(models.Model):
    """A user's role in a project, with their qualification, pause and warning."""

    class Role(models.TextChoices):
        LEAD = "lead", _("Lead")
        REVIEWER = "reviewer", _("Reviewer")
        ANNOTATOR = "annotator", _("Annotator")

    project = models.ForeignKey(Project, models.CASCADE, related_name="members", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    joined_at = models.DateTimeField(auto_now_add=True)
    confirmed_guideline = models.ForeignKey(
        Guideline,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="confirmed_by",
        help_text="The version of the guidelines that they confirmed last.",
    )
    qualified_at = models.DateTimeField(
        null=True, blank=True, help_text="When they passed the project's qualification."
    )
    # set: they get no items until a lead lifts the pause
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_reason = models.CharField(max_length=MAX_REASON_CHARS, blank=True)
    warned_at = models.DateTimeField(null=True, blank=True)
    warning = models.CharField(max_length=MAX_REASON_CHARS, blank=True, help_text="Shown above their work.")
    # each is reported to leads once, until they lift a pause or a warning
    marked_for = ArrayField(
        models.CharField(max_length=9),
        default=list,
        db_default=[],
        blank=True,
        help_text="The reasons for which they stood out so far.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_role_per_member"),
            models.CheckConstraint(
                condition=models.Q(role__in=["lead", "reviewer", "annotator"]), name="known_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"

    @property
    def role_name(self) -> str:
        """The role within a sentence."""
        return str(ROLE_NAMES[self.role])


ROLE_NAMES: dict[str, object] = {
    Member.Role.LEAD: pgettext_lazy("within a sentence", "lead"),
    Member.Role.REVIEWER: pgettext_lazy("within a sentence", "reviewer"),
    Member.Role.ANNOTATOR: pgettext_lazy("within a sentence", "annotator"),
}


class Exclusion(models.Model):
    """A person whose judgments in a project do not count from now on: not in snapshots, training data and rounds. It outlives
    their membership, and ends by being deleted; the audit trail keeps both."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exclusions", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="exclusions")
    reason = models.CharField(max_length=MAX_REASON_CHARS)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_exclusion_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class Invitation(models.Model):
    """A link with which users join a project. Only the SHA-256 of its key is stored."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Member.Role, default=Member.Role.ANNOTATOR)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    note = models.CharField(max_length=120, blank=True, help_text="Who it is for.")
    places = models.PositiveSmallIntegerField(default=1, help_text="How many people may use it.")
    used = models.PositiveSmallIntegerField(default=0)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(used__lte=models.F("places")), name="places_are_not_exceeded"
            )
        ]

    def __str__(self) -> str:
        return f"invitation to {self.project}"


class ApiToken(models.Model):
    """An API token. Only the SHA-256 of its key is stored; the key is shown once, when it is created."""

    class Scope(models.TextChoices):
        READ = "read", _("Read: export data, follow runs")
        ANNOTATE = "annotate", _("Annotate: also take items and judge them")
        LEAD = "lead", _("Lead: all that you may do")

    user = models.ForeignKey(User, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.READ)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def digest_of(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def issue(
        cls, *, user: User, name: str, scope: str = Scope.READ, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """Create a token. Returns it with its key, which is not stored."""
        key = f"palate_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            user=user, name=name, scope=scope, expires_at=expires_at, digest=cls.digest_of(key)
        )
        return token, key

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
