"""Live events for open pages, sent by actions after commit.

Best effort: a page that missed an event reads the state from the database when it connects.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from redis import Redis

log = logging.getLogger(__name__)


def project_group(project_id: int) -> str:
    return f"project-{project_id}"


def announce(group: str, event: dict[str, Any]) -> None:
    """Send an event to every page that listens to a group, after the transaction has committed."""

    def send() -> None:
        layer: Any = get_channel_layer()
        try:
            # as the layer's `group_send`, without an event loop and a new connection for each call
            message = layer.serialize({"type": "announce", "event": event})
            _publisher().publish(f"asgi__group__{group}", message)
        except Exception:
            log.warning("could not announce to %s", group, exc_info=True)

    transaction.on_commit(send)


@cache
def _publisher() -> Redis:
    """A client with a connection pool, which gives each thread its own connection."""
    layers: Any = settings.CHANNEL_LAYERS
    (host,) = layers["default"]["CONFIG"]["hosts"]
    return Redis.from_url(host)
