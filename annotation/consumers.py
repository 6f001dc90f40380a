"""WebSocket consumers: what they share, and that of a project's pages, with the queue's progress and the project's events."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, QueryDict
from django.utils.translation import override

from annotation import analytics
from annotation.access import Role, project_for
from annotation.events import project_group
from annotation.models import Project, User

NOT_ALLOWED = 4403
"""The close code of a socket whose user may not read the project; the page does not reconnect."""

MIN_INTERVAL_S = 1.0
QUIET_INTERVAL_S = 60.0
"""After so long without an event the progress is sent again: who judged a while ago no longer does, and no event says so."""


@database_sync_to_async
def readable_project(user: User | AnonymousUser, slug: str) -> Project | None:
    """The project, if the user may read its progress and runs."""
    try:
        return project_for(user, slug, Role.LEAD, Role.REVIEWER)
    except (Http404, PermissionDenied):
        return None


def language_of_page(query: bytes) -> str:
    """The language that the address of a socket names, if the site has it, or else the site's own."""
    language = QueryDict(query).get("language", "")
    return language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


@database_sync_to_async
def queue_in_language(project: Project, language: str) -> dict[str, Any]:
    with override(language):
        return analytics.queue_status(project)


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """A socket that only sends: whatever a client sends is ignored."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        pass


class UnknownPath(AsyncWebsocketConsumer):
    """Refuses the connection."""

    async def connect(self) -> None:
        await self.close()


class ProjectConsumer(LiveConsumer):
    """Sends `{"kind": "queue", "queue": {…}}` (`analytics.queue_status`) on connecting, after judgments, at most once a
    second, and every minute, and forwards every other event of the project."""

    async def connect(self) -> None:
        self.waiting: asyncio.Task[None] | None = None
        self.clock: asyncio.Task[None] | None = None
        self.slug: str = self.scope["url_route"]["kwargs"]["slug"]
        self.user = cast("User | AnonymousUser", self.scope["user"])
        self.language = language_of_page(self.scope["query_string"])
        project = await readable_project(self.user, self.slug)
        if project is None:
            await self.close(code=NOT_ALLOWED)
            return
        self.group = project_group(project.pk)
        # subscribe before reading the state, so that no event in between is missed
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_queue()
        self.clock = asyncio.create_task(self.send_queue_regularly())

    async def disconnect(self, code: int) -> None:
        for task in (self.waiting, self.clock):
            if task:
                task.cancel()
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def announce(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event["kind"] != "judgment":
            await self.send_json(event)
        if self.waiting is None or self.waiting.done():
            self.waiting = asyncio.create_task(self.send_queue_soon())

    async def send_queue_soon(self) -> None:
        await asyncio.sleep(MIN_INTERVAL_S)
        self.waiting = None  # later events are not in the state that is read now
        await self.send_queue()

    async def send_queue_regularly(self) -> None:
        while True:
            await asyncio.sleep(QUIET_INTERVAL_S)
            await self.send_queue()

    async def send_queue(self) -> None:
        """Send the current progress; close the socket if the user has left the project."""
        project = await readable_project(self.user, self.slug)
        if project is None:
            await self.close(code=NOT_ALLOWED)
            return
        queue = await queue_in_language(project, self.language)
        await self.send_json({"kind": "queue", "queue": queue})
