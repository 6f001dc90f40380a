"""Work that nobody waits for at a page."""

from __future__ import annotations

from celery import shared_task

from annotation.actions import agreement, imports, rules, webhooks


@shared_task(acks_late=False)
def read_import(import_id: int) -> None:
    """Read one file until it is over. A message that comes twice finds nothing to claim."""
    upload = imports.claim(import_id)
    if upload is not None:
        imports.work(upload)


@shared_task(expires=30)
def sweep_imports() -> None:
    """Wake workers for imports whose message was lost, or whose worker fell silent."""
    imports.sweep()


@shared_task(expires=60)
def keep_rules() -> None:
    """Warn and pause people by the rules of their projects."""
    rules.apply_rules()


@shared_task(expires=15)
def measure_agreement() -> None:
    """Keep how far people agree on the items that were judged since the last time."""
    agreement.measure()


@shared_task(expires=30)
def sweep_webhooks() -> None:
    """Tell webhooks what is new, and try again where a message did not arrive."""
    webhooks.gather()
    webhooks.send_due()


@shared_task(expires=3600)
def forget_messages() -> None:
    """Keep the logs of webhooks from growing for ever."""
    webhooks.forget()
