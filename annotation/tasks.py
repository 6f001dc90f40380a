"""Celery tasks of the annotation side: e-mails, notifications, batches, jobs, rules, agreement, figures and webhooks."""

from __future__ import annotations

from smtplib import SMTPException
from typing import Any

from celery import shared_task
from django.core.mail import EmailMessage
from django.utils import timezone

from annotation.actions import (
    agreement,
    batches,
    chat_answers,
    chats,
    erasures,
    imports,
    notifications,
    project_counts,
    rules,
    snapshot_jobs,
    webhook_delivery,
)
from annotation.analytics import figures
from annotation.models import Project
from config.shutdown import is_stopping


@shared_task(acks_late=False)
def read_import(import_id: int) -> None:
    """Import one file. A message delivered twice finds nothing to claim."""
    upload = None if is_stopping() else imports.claim(import_id)
    if upload is not None:
        imports.run_import(upload)


@shared_task(acks_late=False)
def create_snapshot(job_id: int) -> None:
    """Create the snapshot of a large project. A message delivered twice finds nothing to claim."""
    job = None if is_stopping() else snapshot_jobs.claim(job_id)
    if job is not None:
        snapshot_jobs.run_job(job)


@shared_task(acks_late=False)
def erase_texts(erasure_id: int) -> None:
    """Delete what the owner of an erased account wrote. A message delivered twice finds nothing to claim."""
    erasure = None if is_stopping() else erasures.claim(erasure_id)
    if erasure is not None:
        erasures.run_job(erasure)


@shared_task(autoretry_for=(SMTPException, OSError), retry_backoff=5, max_retries=6)
def send_email(to: list[str], subject: str, body: str) -> None:
    """Send an e-mail; a server that does not take it is tried again for about five minutes."""
    EmailMessage(subject, body, to=to).send()


@shared_task(expires=60)
def send_digests() -> None:
    """Send the e-mails about notifications that are due."""
    for digest in notifications.take_digests():
        send_email.delay([digest.address], digest.subject, digest.body)


@shared_task(expires=60)
def notify_of_due_batches() -> None:
    """Tell people that their batches are due soon, or overdue."""
    batches.notify_of_due()


@shared_task(expires=3600)
def delete_old_notifications() -> None:
    """Delete notifications that were read long ago."""
    notifications.delete_old()


@shared_task(expires=30)
def sweep_jobs() -> None:
    """Send the messages of imports, snapshots, erasures and chats again if they were lost or their worker died."""
    imports.sweep()
    chat_answers.wake_lost()
    snapshot_jobs.sweep()
    erasures.sweep()


@shared_task(expires=600)
def drop_left_turns() -> None:
    """Drop the messages of chats whose answers nobody has judged for a day."""
    chats.drop_left_turns()


@shared_task(expires=60)
def apply_rules() -> None:
    """Warn and pause annotators by the rules of their projects."""
    rules.apply_rules()


@shared_task(expires=15)
def measure_agreement() -> None:
    """Update the agreement of the items judged since the last run."""
    agreement.update()


@shared_task
def count_figure(name: str, project_id: int, query: str, zone: str, arguments: list[Any]) -> None:
    """Count a figure of a large project, with the filters of a query string, as seen from a time zone."""
    with timezone.override(zone):
        figures.count_for_pages(name, Project.objects.get(pk=project_id), query, arguments)


@shared_task(expires=15)
def merge_project_counts() -> None:
    """Merge what triggers inserted since the last run."""
    project_counts.merge()


@shared_task(expires=30)
def sweep_webhooks() -> None:
    """Notify webhooks of new rows, and send the messages that are due."""
    webhook_delivery.notify_of_new_rows()
    webhook_delivery.notify_of_empty_queues()
    webhook_delivery.send_due()


@shared_task(expires=3600)
def delete_old_deliveries() -> None:
    """Delete old webhook deliveries."""
    webhook_delivery.delete_old_deliveries()
