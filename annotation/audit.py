"""The audit trail: who did what. Called by actions, in their own transaction, so that no entry is noted that was not done."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from annotation.models import AuditEntry, Project, User

THE_SITE = "-"
"""Whom to ask for where nobody acted but the site itself."""

VERBS = {
    "project.created": "created the project",
    "project.changed": "changed the settings",
    "guidelines.changed": "wrote guidelines",
    "member.joined": "joined",
    "member.added": "added a member",
    "member.role": "changed a role",
    "member.removed": "removed a member",
    "member.paused": "paused a member",
    "member.resumed": "lifted a pause",
    "member.warned": "warned a member",
    "member.qualified": "passed the qualification",
    "invitation.made": "made an invitation",
    "invitation.revoked": "revoked an invitation",
    "import.done": "imported prompts",
    "webhook.added": "added a webhook",
    "webhook.changed": "changed what a webhook is told of",
    "webhook.paused": "paused a webhook",
    "webhook.resumed": "had a webhook go on",
    "webhook.removed": "removed a webhook",
    "item.retired": "took an item out of the queue",
    "item.restricted": "left an item to reviewers",
    "item.reopened": "put an item back into the queue",
    "item.gold": "gave an item its known answer",
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
    """Note a entry. `actor` is None where the site itself acted; `data` holds what changed, as JSON."""
    assert verb in VERBS, verb
    return AuditEntry.objects.create(
        project=project, actor=actor, verb=verb, subject=subject[:200], data=data
    )


def audit_entries(project: Project, *, who: str = "", verb: str = "") -> QuerySet[AuditEntry]:
    """Newest first, with their actors: all, or those of a user and of a kind."""
    found = AuditEntry.objects.filter(project=project).select_related("actor").order_by("-id")
    if who:
        found = found.filter(actor=None) if who == THE_SITE else found.filter(actor__username=who)
    return found.filter(verb=verb) if verb in VERBS else found
