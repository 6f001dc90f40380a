"""Telling other systems what happens. A message is a row first, written with what it tells of; a sweep sends it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models, transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from annotation import audit
from annotation.actions import safe_http
from annotation.models import Delivery, Item, Judgment, Project, User, Webhook
from annotation.models.webhooks import EVENTS

MOST_WEBHOOKS = 20
TEST = "test"  # the event of a message that is sent by hand, to see that it arrives
ATTEMPTS = 9
# then four times as long each time: nine attempts are spread over nearly four days
FIRST_WAIT = timedelta(seconds=15)
HELD = timedelta(minutes=1)  # a message is in one worker's hands so long: longer than it takes to send one
KEPT = timedelta(days=30)
"""The log goes back so far."""
AT_ONCE = 50
ROWS_PER_MESSAGE = 100
# by event: what says how far a webhook has been told
CURSORS = {"judgment.created": "last_judgment", "items.created": "last_item"}
# rows commit in another order than their ids; what is younger than this, or than a transaction that writes such rows and
# is still open, is left for a later sweep
SETTLED = timedelta(seconds=3)


class WebhookError(Exception):
    """What is wrong, in a sentence; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def add(*, project: Project, url: str, events: Sequence[str], creator: User) -> Webhook:
    """A webhook that is told of what happens from now on.

    Raises:
        WebhookError: the address is no web address, or events are unknown, or there are too many webhooks.
    """
    chosen = _chosen(events)
    try:
        safe_http.check(url)
    except safe_http.Refused as error:
        raise WebhookError("url", str(error)) from None
    if project.webhooks.count() >= MOST_WEBHOOKS:
        raise WebhookError("url", f"A project may have {MOST_WEBHOOKS} webhooks.")
    webhook = Webhook.objects.create(
        project=project,
        url=url,
        events=chosen,
        secret=f"whsec_{secrets.token_urlsafe(32)}",
        created_by=creator,
        **_newest(),
    )
    _record("webhook.added", webhook, creator)
    return webhook


@transaction.atomic
def change(*, webhook: Webhook, events: Sequence[str], actor: User) -> None:
    """Tell a webhook of these events, and of no others, from now on. The same again is nothing.

    Raises:
        WebhookError: events are unknown, or there are none.
    """
    chosen = _chosen(events)
    before = Webhook.objects.select_for_update().get(pk=webhook.pk).events
    if chosen != before:
        cursors, added = _newest(), set(chosen) - set(before)
        changes = {CURSORS[event]: cursors[CURSORS[event]] for event in CURSORS if event in added}
        Webhook.objects.filter(pk=webhook.pk).update(events=chosen, **changes)
        webhook.refresh_from_db()
        _record("webhook.changed", webhook, actor)


def _chosen(events: Sequence[str]) -> list[str]:
    if unknown := [event for event in events if event not in EVENTS]:
        raise WebhookError("events", f"{unknown[0][:40]!r} is no event: there are {', '.join(EVENTS)}.")
    if not events:
        raise WebhookError("events", f"Choose at least one: there are {', '.join(EVENTS)}.")
    return sorted(set(events))


@transaction.atomic
def switch(*, webhook: Webhook, active: bool, actor: User) -> None:
    """Pause a webhook, or let it go on: messages that are written wait for it, and of what happens meanwhile it is not told.
    Twice is once."""
    changes: dict[str, Any] = {"active": active} | (_newest() if active else {})
    if Webhook.objects.filter(pk=webhook.pk).exclude(active=active).update(**changes):
        webhook.refresh_from_db()
        _record("webhook.resumed" if active else "webhook.paused", webhook, actor)


@transaction.atomic
def remove(*, webhook: Webhook, actor: User) -> None:
    """Tell it nothing any more, and forget what it was told."""
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


def _newest() -> dict[str, int]:
    """The cursors of a webhook that is told of what comes from now on."""
    return {
        "last_judgment": Judgment.objects.aggregate(newest=Max("id"))["newest"] or 0,
        "last_item": Item.objects.aggregate(newest=Max("id"))["newest"] or 0,
    }


def tell(project: Project, event: str, **data: Any) -> None:
    """Leave a message for every webhook that wants to know; it is gone with the transaction that it tells of."""
    assert event in EVENTS, event
    listeners = Webhook.objects.filter(project=project, active=True, events__contains=[event])
    Delivery.objects.bulk_create(_message(webhook, project, event, data) for webhook in listeners)


def send_test(webhook: Webhook) -> Delivery:
    """Leave a message that tells of nothing: whether it arrives is what one wants to know."""
    delivery = _message(webhook, webhook.project, TEST, {})
    delivery.save()
    return delivery


def gather() -> int:
    """Leave messages about the judgments and items that are new, up to a hundred in each. Returns how many messages."""
    return sum(_gather(webhook) for webhook in Webhook.objects.filter(active=True).select_related("project"))


def _gather(webhook: Webhook) -> int:
    left = 0
    if "judgment.created" in webhook.events:
        rows = Judgment.objects.filter(
            item__project=webhook.project, pk__gt=webhook.last_judgment, created_at__lt=_settled(Judgment)
        )
        fields = {
            "judgment": F("pk"),
            "prompt": F("item__prompt__external_id"),
            "replaces": F("supersedes"),
            "by": F("annotator__pseudonym"),
        }
        left += _tell_of(webhook, "judgment.created", "judgments", "last_judgment", rows, "item", **fields)
    if "items.created" in webhook.events:
        items = Item.objects.filter(
            project=webhook.project, pk__gt=webhook.last_item, created_at__lt=_settled(Item)
        )
        fields = {"item": F("pk"), "external_id": F("prompt__external_id")}
        left += _tell_of(webhook, "items.created", "items", "last_item", items, **fields)
    return left


def _settled(model: type[models.Model]) -> datetime:
    """Before this, no row will turn up any more: a transaction that has written rows, an import for example, holds its lock
    on their table to its end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(writer.xact_start) FROM pg_locks JOIN pg_stat_activity AS writer USING (pid)"
            " WHERE writer.datname = current_database() AND pid <> pg_backend_pid()"
            " AND relation = %s::regclass AND mode = 'RowExclusiveLock'",
            [model._meta.db_table],
        )
        (oldest,) = cursor.fetchone()
    now = timezone.now()
    return min(oldest or now, now) - SETTLED


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


def forget() -> int:
    """Remove from the log what is over and old. Returns how many messages."""
    over = Delivery.objects.exclude(state=Delivery.State.WAITING)
    return over.filter(created_at__lt=timezone.now() - KEPT).delete()[0]


# --- sending --------------------------------------------------------------------------------------------------


def send_due() -> int:
    """Send messages whose time has come, up to fifty; to an address that does not answer, one. Returns how many were tried."""
    silent: set[int] = set()
    for tried in range(AT_ONCE):
        delivery = _claim(silent)
        if delivery is None:
            return tried
        if not _send(delivery):
            silent.add(delivery.webhook_id)
    return AT_ONCE


def _claim(silent: Collection[int]) -> Delivery | None:
    """One message to send, to none of the webhooks `silent`, put off for a while, so that no other worker sends it too."""
    with transaction.atomic():
        due = (
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=Delivery.State.WAITING, next_at__lte=timezone.now(), webhook__active=True)
            .exclude(webhook__in=silent)
            .select_related("webhook")
            .order_by("next_at")
            .first()
        )
        if due is not None:
            Delivery.objects.filter(pk=due.pk).update(
                next_at=timezone.now() + HELD, attempts=F("attempts") + 1
            )
    return due


def _send(delivery: Delivery) -> bool:
    """Whether it arrived."""
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
        status, text = safe_http.post(delivery.webhook.url, body, headers)
        problem = "" if 200 <= status < 300 else f"It answered {status}."
    except safe_http.Refused as error:
        status, text, problem = None, "", str(error)
    result: dict[str, Any] = {
        "status": status,
        "answer": text[:300],
        "problem": problem[:300],
        "tried_at": now,
    }
    if not problem:
        result |= {"state": Delivery.State.DELIVERED, "delivered_at": now}
    elif attempts >= ATTEMPTS:
        result["state"] = Delivery.State.FAILED
    else:
        result["next_at"] = now + FIRST_WAIT * 4 ** (attempts - 1)
    Delivery.objects.filter(Q(pk=delivery.pk) & Q(state=Delivery.State.WAITING)).update(**result)
    return not problem


def signature(secret: str, body: bytes, at: int) -> str:
    """What proves that a message is ours: `t=…,v1=…`, the HMAC-SHA256 of the time in seconds, a full stop and the body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def redeliver(delivery: Delivery) -> None:
    """Send a message once more, whatever became of it, with all its attempts before it."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=Delivery.State.WAITING, next_at=timezone.now(), attempts=0, delivered_at=None
    )
