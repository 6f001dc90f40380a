"""A project's webhooks: adding, changing, pausing and removing the addresses that receive its events."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions import safe_http
from annotation.models import Item, Judgment, Project, User, Webhook
from annotation.models.webhooks import EVENTS

MAX_WEBHOOKS = 20
CURSORS = {
    "judgment.created": "last_judgment",
    "items.created": "last_item",
    "queue.empty": "queue_filled",
}
"""By event that a sweep finds, the field with what a webhook was notified of."""


class WebhookError(Exception):
    """Why a webhook is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def add(*, project: Project, url: str, events: Sequence[str], creator: User) -> Webhook:
    """Create a webhook that receives events from now on.

    Raises:
        WebhookError: the URL is not a web address, events are unknown, or there are too many webhooks.
    """
    checked = _checked(events)
    try:
        safe_http.check(url)
    except safe_http.Refused as error:
        raise WebhookError("url", str(error)) from None
    if project.webhooks.count() >= MAX_WEBHOOKS:
        raise WebhookError("url", _("A project may have %(n)s webhooks.") % {"n": MAX_WEBHOOKS})
    webhook = Webhook.objects.create(
        project=project,
        url=url,
        events=checked,
        secret=f"whsec_{secrets.token_urlsafe(32)}",
        created_by=creator,
        **_current_cursors(),
    )
    _record("webhook.added", webhook, creator)
    return webhook


@transaction.atomic
def change_events(*, webhook: Webhook, events: Sequence[str], actor: User) -> None:
    """Replace the events that a webhook receives; the same events again change nothing.

    Raises:
        WebhookError: events are unknown, or there are none.
    """
    checked = _checked(events)
    before = Webhook.objects.select_for_update().get(pk=webhook.pk).events
    if checked != before:
        cursors, added = _current_cursors(), set(checked) - set(before)
        changes = {CURSORS[event]: cursors[CURSORS[event]] for event in CURSORS if event in added}
        Webhook.objects.filter(pk=webhook.pk).update(events=checked, **changes)
        webhook.refresh_from_db()
        _record("webhook.changed", webhook, actor)


def _checked(events: Sequence[str]) -> list[str]:
    """The events, sorted and without duplicates."""
    if unknown := [event for event in events if event not in EVENTS]:
        raise WebhookError(
            "events",
            _("%(event)s is not an event: there are %(events)s.")
            % {"event": repr(unknown[0][:40]), "events": ", ".join(EVENTS)},
        )
    if not events:
        raise WebhookError(
            "events", _("Choose at least one: there are %(events)s.") % {"events": ", ".join(EVENTS)}
        )
    return sorted(set(events))


@transaction.atomic
def set_active(*, webhook: Webhook, active: bool, actor: User) -> None:
    """Pause or resume a webhook. Messages written before the pause wait for it; events during the pause are not sent, not
    even later."""
    changes: dict[str, Any] = {"active": active} | (_current_cursors() if active else {})
    if Webhook.objects.filter(pk=webhook.pk).exclude(active=active).update(**changes):
        webhook.refresh_from_db()
        _record("webhook.resumed" if active else "webhook.paused", webhook, actor)


@transaction.atomic
def remove(*, webhook: Webhook, actor: User) -> None:
    """Delete a webhook and the log of its deliveries."""
    _record("webhook.removed", webhook, actor)
    webhook.delete()


def _record(verb: str, webhook: Webhook, actor: User) -> None:
    audit.record(
        verb,
        project=webhook.project,
        actor=actor,
        subject=webhook.host,
        webhook=webhook.pk,
        events=webhook.events,
    )


def _current_cursors() -> dict[str, Any]:
    """The cursors of a webhook that receives only what comes from now on."""
    return {
        "last_judgment": Judgment.objects.aggregate(newest=Max("id"))["newest"] or 0,
        "last_item": Item.objects.aggregate(newest=Max("id"))["newest"] or 0,
        "queue_filled": False,
    }
