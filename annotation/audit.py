"""The audit trail: actions record entries in their own transaction, so that none is recorded that was rolled back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_noop

from annotation.models import AuditEntry, Project, User

THE_SITE = "-"
"""The value of `actor` that selects entries of the site itself."""

# in English, as in the API's documentation; pages translate them
VERBS = {
    "project.created": gettext_noop("created the project"),
    "project.changed": gettext_noop("changed the settings"),
    "guidelines.changed": gettext_noop("wrote guidelines"),
    "chat.settings": gettext_noop("changed the settings of chats"),
    "questions.changed": gettext_noop("changed the project's own questions"),
    "member.joined": gettext_noop("joined"),
    "member.added": gettext_noop("added a member"),
    "member.role": gettext_noop("changed a role"),
    "member.removed": gettext_noop("removed a member"),
    "member.paused": gettext_noop("paused a member"),
    "member.resumed": gettext_noop("lifted a pause"),
    "member.warned": gettext_noop("warned a member"),
    "judgments.excluded": gettext_noop("excluded somebody's judgments"),
    "judgments.included": gettext_noop("included somebody's judgments again"),
    "member.reminded": gettext_noop("reminded a member"),
    "member.password": gettext_noop("made a link for a new password"),
    "member.qualified": gettext_noop("passed the qualification"),
    "invitation.made": gettext_noop("made an invitation"),
    "invitation.revoked": gettext_noop("revoked an invitation"),
    "import.done": gettext_noop("imported prompts"),
    "batch.created": gettext_noop("assigned a batch"),
    "batch.changed": gettext_noop("changed when a batch is due"),
    "batch.closed": gettext_noop("closed a batch"),
    "batch.extended": gettext_noop("put items into a batch"),
    "batch.reduced": gettext_noop("took items out of a batch"),
    "webhook.added": gettext_noop("added a webhook"),
    "webhook.changed": gettext_noop("changed the events of a webhook"),
    "webhook.paused": gettext_noop("paused a webhook"),
    "webhook.resumed": gettext_noop("resumed a webhook"),
    "webhook.removed": gettext_noop("removed a webhook"),
    "item.retired": gettext_noop("took an item out of the queue"),
    "item.restricted": gettext_noop("restricted an item to reviewers"),
    "item.reopened": gettext_noop("put an item back into the queue"),
    "item.gold": gettext_noop("set an item's known answer"),
    "prompt.tagged": gettext_noop("added a tag to a prompt"),
    "prompt.untagged": gettext_noop("removed a tag from a prompt"),
    "verdict.given": gettext_noop("decided an item"),
    "rule.changed": gettext_noop("changed the rules"),
    "snapshot.frozen": gettext_noop("froze a snapshot"),
    "constitution.changed": gettext_noop("changed the constitution"),
    "opinions.stored": gettext_noop("stored a judge's opinions"),
    "account.erased": gettext_noop("erased an account"),
    "loop.changed": gettext_noop("changed the loop"),
    "round.started": gettext_noop("started a round"),
    "round.cancelled": gettext_noop("cancelled a round"),
    "round.resumed": gettext_noop("resumed a round"),
    "round.retried": gettext_noop("repeated a part of a round"),
    "round.hastened": gettext_noop("skipped waiting for judgments"),
    "round.overruled": gettext_noop("overruled a gate"),
    "round.promoted": gettext_noop("promoted a round's policy"),
    "round.rejected": gettext_noop("rejected a round's policy"),
    "model.promoted": gettext_noop("made a model the current one"),
    "model.retired": gettext_noop("retired a model"),
    "model.removed": gettext_noop("removed a model's files"),
}


def record(
    verb: str, *, project: Project | None, actor: User | None, subject: str, **data: Any
) -> AuditEntry:
    """Record an entry. `actor` is None if the site itself acted; `data` holds the changes, as JSON."""
    assert verb in VERBS, verb
    return AuditEntry.objects.create(
        project=project, actor=actor, verb=verb, subject=subject[:200], data=data
    )


def record_all(
    verb: str, *, project: Project, actor: User | None, entries: Iterable[tuple[str, dict[str, Any]]]
) -> None:
    """Record an entry for each pair of a subject and its data, in one statement."""
    assert verb in VERBS, verb
    AuditEntry.objects.bulk_create(
        AuditEntry(project=project, actor=actor, verb=verb, subject=subject[:200], data=data)
        for subject, data in entries
    )


def audit_entries(project: Project, *, actor: str = "", verb: str = "") -> QuerySet[AuditEntry]:
    """A project's entries, newest first, with their actors; of one user name, or of one verb."""
    entries = AuditEntry.objects.filter(project=project).select_related("actor").order_by("-id")
    if actor:
        entries = entries.filter(actor=None) if actor == THE_SITE else entries.filter(actor__username=actor)
    return entries.filter(verb=verb) if verb in VERBS else entries
