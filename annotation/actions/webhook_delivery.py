"""Webhook deliveries: a message is a row first, written with the event it reports; a sweep sends it and retries."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.actions import safe_http
from annotation.models import Delivery, Item, Judgment, Project, Slot, Webhook
from annotation.models.webhooks import EVENTS
from config.log_context import request_id
from config.shutdown import is_stopping

TEST = "test"
"""The event of a message that a lead sends to try a webhook."""
MAX_ATTEMPTS = 9
FIRST_RETRY_AFTER = timedelta(seconds=15)
"""The delay grows fourfold with each attempt, so that nine attempts take nearly four days."""
CLAIM_TIME = timedelta(minutes=1)
"""For how long a worker has a message to itself: longer than it takes to send one."""
RETENTION = timedelta(days=30)
SEND_BATCH = 50
ROWS_PER_MESSAGE = 100
QUEUE_EMPTY_INTERVAL = timedelta(minutes=10)
"""A queue that fills and empties again is reported at most once in this time."""
SETTLE_TIME = timedelta(seconds=3)
"""Rows do not commit in the order of their ids, so rows younger than this wait for a later sweep."""


# --- messages -------------------------------------------------------------------------------------------------


def notify(project: Project, event: str, **data: Any) -> None:
    """Write a message for every active webhook of the project with this event, in the current transaction."""
    assert event in EVENTS, event
    listeners = Webhook.objects.filter(project=project, active=True, events__contains=[event])
    Delivery.objects.bulk_create(_delivery(webhook, project, event, data) for webhook in listeners)


def send_test(webhook: Webhook) -> Delivery:
    """Write a test message, which reports nothing."""
    delivery = _delivery(webhook, webhook.project, TEST, {})
    delivery.save()
    return delivery


def redeliver(delivery: Delivery) -> None:
    """Send a message again, with all its attempts, whether it was delivered or not."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=Delivery.State.WAITING, next_at=timezone.now(), attempts=0, delivered_at=None
    )


def notify_of_new_rows() -> int:
    """Write messages about new judgments and items, up to a hundred rows in each. Returns how many messages."""
    webhooks = Webhook.objects.filter(active=True).select_related("project")
    return sum(_notify_of_new_rows(webhook) for webhook in webhooks)


def _notify_of_new_rows(webhook: Webhook) -> int:
    written = 0
    if "judgment.created" in webhook.events:
        judgments = Judgment.objects.filter(
            item__project=webhook.project,
            pk__gt=webhook.last_judgment,
            created_at__lt=_settled_before(Judgment),
        )
        fields = {
            "judgment": F("pk"),
            "prompt": F("item__prompt__external_id"),
            "replaces": F("supersedes"),
            "by": F("annotator__pseudonym"),
        }
        written += _notify_of_rows(
            webhook, "judgment.created", "judgments", "last_judgment", judgments, "item", **fields
        )
    if "items.created" in webhook.events:
        items = Item.objects.filter(
            project=webhook.project, pk__gt=webhook.last_item, created_at__lt=_settled_before(Item)
        )
        fields = {"item": F("pk"), "external_id": F("prompt__external_id")}
        written += _notify_of_rows(webhook, "items.created", "items", "last_item", items, **fields)
    return written


def _settled_before(model: type[models.Model]) -> datetime:
    """The time before which no new row can appear: a transaction that has inserted rows, such as an import, holds a lock
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
    return min(oldest or now, now) - SETTLE_TIME


def _notify_of_rows(
    webhook: Webhook,
    event: str,
    name: str,
    cursor: str,
    rows: models.QuerySet[Any],
    *columns: str,
    **fields: F,
) -> int:
    """Write one message about the oldest rows. The webhook's cursor moves in the same transaction and only from the value
    that was read, so that two sweeps at once write it once."""
    batch = list(rows.order_by("pk").values("pk", *columns, **fields)[:ROWS_PER_MESSAGE])
    if not batch:
        return 0
    data = [{key: value for key, value in row.items() if key != "pk"} for row in batch]
    with transaction.atomic():
        unmoved = Webhook.objects.filter(pk=webhook.pk, **{cursor: getattr(webhook, cursor)})
        if not unmoved.update(**{cursor: batch[-1]["pk"]}):
            return 0
        _delivery(webhook, webhook.project, event, {name: data}).save()
    return 1


def notify_of_empty_queues() -> int:
    """Write a message for each webhook whose project had items in the queue when last looked at, and has none now. Returns how
    many messages."""
    in_queue = Slot.objects.filter(
        project=OuterRef("project"), state=Slot.State.OPEN, gold=False, restricted=False
    )
    webhooks = Webhook.objects.filter(active=True, events__contains=["queue.empty"])
    webhooks.filter(Exists(in_queue), queue_filled=False).update(queue_filled=True)
    now = timezone.now()
    emptied = webhooks.filter(~Exists(in_queue), queue_filled=True)
    written = 0
    for webhook in emptied.exclude(queue_empty_at__gt=now - QUEUE_EMPTY_INTERVAL).select_related("project"):
        with transaction.atomic():
            if Webhook.objects.filter(pk=webhook.pk, queue_filled=True).update(
                queue_filled=False, queue_empty_at=now
            ):
                _delivery(webhook, webhook.project, "queue.empty", {}).save()
                written += 1
    return written


def _delivery(webhook: Webhook, project: Project, event: str, data: dict[str, Any]) -> Delivery:
    body = {"event": event, "project": project.slug, "at": timezone.now().isoformat(), "data": data}
    if request_id():
        body["request_id"] = request_id()
    return Delivery(webhook=webhook, event=event, body=body)


def delete_old_deliveries() -> int:
    """Delete finished deliveries older than `RETENTION`. Returns how many."""
    finished = Delivery.objects.exclude(state=Delivery.State.WAITING)
    return finished.filter(created_at__lt=timezone.now() - RETENTION).delete()[0]


# --- sending --------------------------------------------------------------------------------------------------


def send_due() -> int:
    """Send the messages that are due, up to fifty, and one only to a webhook that does not answer. Returns how many
    attempts were made."""
    unreachable: set[int] = set()
    for attempted in range(SEND_BATCH):
        delivery = None if is_stopping() else _claim(unreachable)
        if delivery is None:
            return attempted
        if not _send(delivery):
            unreachable.add(delivery.webhook_id)
    return SEND_BATCH


def _claim(unreachable: Collection[int]) -> Delivery | None:
    """A message that is due, for none of the unreachable webhooks; postponed, so that no other worker sends it too."""
    with transaction.atomic():
        due = (
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=Delivery.State.WAITING, next_at__lte=timezone.now(), webhook__active=True)
            .exclude(webhook__in=unreachable)
            .select_related("webhook")
            .order_by("next_at")
            .first()
        )
        if due is not None:
            Delivery.objects.filter(pk=due.pk).update(
                next_at=timezone.now() + CLAIM_TIME, attempts=F("attempts") + 1
            )
    return due


def _send(delivery: Delivery) -> bool:
    """Post a message and record the result. Returns whether it was delivered."""
    body = json.dumps({"id": delivery.pk} | delivery.body, ensure_ascii=False).encode()
    now = timezone.now()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Palate-Webhook/1",
        "Palate-Event": delivery.event,
        "Palate-Delivery": str(delivery.pk),
        "Palate-Signature": signature(delivery.webhook.secret, body, int(now.timestamp())),
    }
    if "request_id" in delivery.body:
        headers["X-Request-ID"] = delivery.body["request_id"]
    attempts = delivery.attempts + 1
    try:
        status, text = safe_http.post(delivery.webhook.url, body, headers)
        problem = "" if 200 <= status < 300 else _("It answered %(status)s.") % {"status": status}
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
    elif attempts >= MAX_ATTEMPTS:
        result["state"] = Delivery.State.FAILED
    else:
        result["next_at"] = now + FIRST_RETRY_AFTER * 4 ** (attempts - 1)
    Delivery.objects.filter(Q(pk=delivery.pk) & Q(state=Delivery.State.WAITING)).update(**result)
    return not problem


def signature(secret: str, body: bytes, at: int) -> str:
    """The signature header of a message, `t=…,v1=…`: the HMAC-SHA256 of the time in seconds, a full stop and the body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
