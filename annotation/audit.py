"""The audit trail: actions record entries in their own transaction, so that none is recorded that was rolled back."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from annotation.models import AuditEntry, Project, User

THE_SITE = "-"
"""The value of `actor` that selects entries of the site itself."""

VERBS = {
    "project.created": "created the project",
    "project.changed": "changed the settings",
    "guidelines.changed": "wrote guidelines",
    "questions.changed": "changed the project's own questions",
    "member.joined": "joined",
    "member.added": "added a member",
    "member.role": "changed a role",
    "member.removed": "removed a member",
    "member.paused": "paused a member",
    "member.resumed": "lifted a pause",
    "member.warned": "warned a member",
    "member.password": "made a link for a new password",
    "member.qualified": "passed the qualification",
    "invitation.made": "made an invitation",
    "invitation.revoked": "revoked an invitation",
    "import.done": "imported prompts",
    "batch.created": "assigned a batch",
    "batch.changed": "changed when a batch is due",
    "batch.closed": "closed a batch",
    "webhook.added": "added a webhook",
    "webhook.changed": "changed the events of a webhook",
    "webhook.paused": "paused a webhook",
    "webhook.resumed": "resumed a webhook",
    "webhook.removed": "removed a webhook",
    "item.retired": "took an item out of the queue",
    "item.restricted": "restricted an item to reviewers",
    "item.reopened": "put an item back into the queue",
    "item.gold": "set an item's known answer",
    "verdict.given": "decided an item",
    "rule.changed": "changed the rules",
    "snapshot.frozen": "froze a snapshot",
    "account.erased": "erased an account",
    "loop.changed": "changed the loop",
    "round.started": "started a round",
    "round.cancelled": "cancelled a round",
    "round.resumed": "resumed a round",
    "round.retried": "repeated a part of a round",
    "round.hastened": "skipped waiting for judgments",
    "round.overruled": "overruled a gate",
    "round.promoted": "promoted a round's policy",
    "round.rejected": "rejected a round's policy",
    "model.promoted": "made a model the current one",
    "model.retired": "retired a model",
    "model.removed": "removed a model's files",
}


def record(
    verb: str, *, project: Project | None, actor: User | None, subject: str, **data: Any
) -> AuditEntry:
    """Record an entry. `actor` is None if the site itself acted; `data` holds the changes, as JSON."""
    assert verb in VERBS, verb
    return AuditEntry.objects.create(
        project=project, actor=actor, verb=verb, subject=subject[:200], data=data
    )


def audit_entries(project: Project, *, actor: str = "", verb: str = "") -> QuerySet[AuditEntry]:
    """A project's entries, newest first, with their actors; of one user name, or of one verb."""
    entries = AuditEntry.objects.filter(project=project).select_related("actor").order_by("-id")
    if actor:
        entries = entries.filter(actor=None) if actor == THE_SITE else entries.filter(actor__username=actor)
    return entries.filter(verb=verb) if verb in VERBS else entries
