"""What pages learn as it happens. Events leave from actions, after commit, and are best effort: a page that missed one
reads the state from the database when it connects."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger(__name__)


def project_group(project_id: int) -> str:
    return f"project-{project_id}"


def announce(group: str, event: dict[str, Any]) -> None:
    """Send `event` to every page that listens to `group`, once the transaction is committed."""

    def send() -> None:
        layer = get_channel_layer()
        assert layer is not None
        try:
            async_to_sync(layer.group_send)(group, {"type": "announce", "event": event})
        except Exception:
            log.warning("could not announce to %s", group, exc_info=True)

    transaction.on_commit(send)
