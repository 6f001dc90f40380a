"""Telling other systems what happens. A message is a row first, written with what it tells of; a sweep sends it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from annotation.actions import outbound
from annotation.models import Delivery, Item, Judgment, Project, User, Webhook
from annotation.models.webhooks import EVENTS

MOST_WEBHOOKS = 20
ATTEMPTS = 9
FIRST_WAIT = timedelta(
    seconds=10
)  # then four times as long each time: nine attempts are spread over nearly four days
HELD = timedelta(minutes=1)  # a message is in one worker's hands so long
AT_ONCE = 50
ROWS_PER_MESSAGE = 100
# rows commit in another order than their ids; what is younger than this is left for the next sweep
SETTLED = timedelta(seconds=3)


class WebhookError(Exception):
    """What is wrong, in a sentence; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def add(*, project: Project, url: str, events: Sequence[str], creator: User) -> Webhook:
    """A webhook that is told of what happens from now on.

    Raises:
        WebhookError: the address is no web address, or events are unknown, or there are too many webhooks.
    """
    if unknown := [event for event in events if event not in EVENTS]:
        raise WebhookError("events", f"{unknown[0][:40]!r} is no event: there are {', '.join(EVENTS)}.")
    if not events:
        raise WebhookError("events", f"Choose at least one: there are {', '.join(EVENTS)}.")
    try:
        outbound.check(url)
    except outbound.Refused as error:
        raise WebhookError("url", str(error)) from None
    if project.webhooks.count() >= MOST_WEBHOOKS:
        raise WebhookError("url", f"A project may have {MOST_WEBHOOKS} webhooks.")
    return Webhook.objects.create(
        project=project,
        url=url,
        events=sorted(set(events)),
        secret=f"whsec_{secrets.token_urlsafe(32)}",
        created_by=creator,
        last_judgment=Judgment.objects.aggregate(newest=Max("id"))["newest"] or 0,
        last_item=Item.objects.aggregate(newest=Max("id"))["newest"] or 0,
    )


def tell(project: Project, event: str, **data: Any) -> None:
    """Leave a message for every webhook that wants to know; it is gone with the transaction that it tells of."""
    assert event in EVENTS, event
    listeners = Webhook.objects.filter(project=project, active=True, events__contains=[event])
    Delivery.objects.bulk_create(_message(webhook, project, event, data) for webhook in listeners)


def gather() -> int:
    """Leave messages about the judgments and items that are new, up to a hundred in each. Returns how many messages."""
    return sum(_gather(webhook) for webhook in Webhook.objects.filter(active=True).select_related("project"))


def _gather(webhook: Webhook) -> int:
    before = timezone.now() - SETTLED
    left = 0
    if "judgment.created" in webhook.events:
        rows = Judgment.objects.filter(
            item__project=webhook.project, pk__gt=webhook.last_judgment, created_at__lt=before
        )
        fields = {
            "judgment": F("pk"),
            "prompt": F("item__prompt__external_id"),
            "replaces": F("supersedes"),
            "by": F("annotator__pseudonym"),
        }
        left += _tell_of(webhook, "judgment.created", "judgments", "last_judgment", rows, "item", **fields)
    if "items.created" in webhook.events:
        items = Item.objects.filter(project=webhook.project, pk__gt=webhook.last_item, created_at__lt=before)
        fields = {"item": F("pk"), "external_id": F("prompt__external_id")}
        left += _tell_of(webhook, "items.created", "items", "last_item", items, **fields)
    return left


def _tell_of(
    webhook: Webhook,
    event: str,
    name: str,
    cursor: str,
    rows: models.QuerySet[Any],
    *plain: str,
    **fields: F,
) -> int:
    """One message of the oldest rows; the webhook's cursor moves with it, so that two sweeps at once tell it once."""
    chosen = list(rows.order_by("pk").values("pk", *plain, **fields)[:ROWS_PER_MESSAGE])
    if not chosen:
        return 0
    last = chosen[-1]["pk"]
    said = [{key: value for key, value in row.items() if key != "pk"} for row in chosen]
    with transaction.atomic():
        where = {"pk": webhook.pk, cursor: getattr(webhook, cursor)}
        if not Webhook.objects.filter(**where).update(**{cursor: last}):
            return 0
        _message(webhook, webhook.project, event, {name: said}).save()
    return 1


def _message(webhook: Webhook, project: Project, event: str, data: dict[str, Any]) -> Delivery:
    body = {"event": event, "project": project.slug, "at": timezone.now().isoformat(), "data": data}
    return Delivery(webhook=webhook, event=event, body=body)


# --- sending --------------------------------------------------------------------------------------------------


def send_due() -> int:
    """Send the messages whose time has come. Returns how many were tried."""
    due = _claim()
    for delivery in due:
        _send(delivery)
    return len(due)


def _claim() -> list[Delivery]:
    """Messages to send, put off for a while, so that no other worker sends them too."""
    with transaction.atomic():
        due = list(
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=Delivery.State.WAITING, next_at__lte=timezone.now(), webhook__active=True)
            .select_related("webhook")
            .order_by("next_at")[:AT_ONCE]
        )
        Delivery.objects.filter(pk__in=[delivery.pk for delivery in due]).update(
            next_at=timezone.now() + HELD, attempts=F("attempts") + 1
        )
    return due


def _send(delivery: Delivery) -> None:
    body = json.dumps({"id": delivery.pk} | delivery.body, ensure_ascii=False).encode()
    now = timezone.now()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Palate-Webhook/1",
        "Palate-Event": delivery.event,
        "Palate-Delivery": str(delivery.pk),
        "Palate-Signature": signature(delivery.webhook.secret, body, int(now.timestamp())),
    }
    attempts = delivery.attempts + 1
    try:
        status = outbound.post(delivery.webhook.url, body, headers)
        problem = "" if 200 <= status < 300 else f"It answered {status}."
    except outbound.Refused as error:
        status, problem = None, str(error)
    result: dict[str, Any] = {"status": status, "problem": problem[:300]}
    if not problem:
        result |= {"state": Delivery.State.DELIVERED, "delivered_at": now}
    elif attempts >= ATTEMPTS:
        result["state"] = Delivery.State.FAILED
    else:
        result["next_at"] = now + FIRST_WAIT * 4 ** (attempts - 1)
    Delivery.objects.filter(Q(pk=delivery.pk) & Q(state=Delivery.State.WAITING)).update(**result)


def signature(secret: str, body: bytes, at: int) -> str:
    """What proves that a message is ours: `t=…,v1=…`, the HMAC-SHA256 of the time in seconds, a full stop and the body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def redeliver(delivery: Delivery) -> None:
    """Send a message once more, whatever became of it, with all its attempts before it."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=Delivery.State.WAITING, next_at=timezone.now(), attempts=0, delivered_at=None
    )
