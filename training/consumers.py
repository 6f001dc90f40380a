"""The WebSocket of a run's page: its state on connecting, then every event that the worker reports."""

from __future__ import annotations

from typing import Any, cast

from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser

from annotation.consumers import NOT_ALLOWED, LiveConsumer, readable_project
from annotation.models import Project, User
from training.models import Run
from training.runs.actions import run_group
from training.runs.queries import run_state


@database_sync_to_async
def state_of(project: Project, pk: int) -> dict[str, Any] | None:
    run = Run.objects.filter(project=project, pk=pk).first()
    return run_state(run) if run else None


class RunConsumer(LiveConsumer):
    """Sends `{"kind": "everything", …}` (`run_state`) on connecting, then each event of the run: `progress`,
    `metrics`, `warning`, `state`. An event may repeat what the first message has; the page merges points by step."""

    async def connect(self) -> None:
        params = self.scope["url_route"]["kwargs"]
        user = cast("User | AnonymousUser", self.scope["user"])
        project = await readable_project(user, params["slug"])
        if project is None:
            await self.close(code=NOT_ALLOWED)
            return
        self.group = run_group(params["pk"])
        # join the group before reading the state, so that no event in between is missed
        await self.channel_layer.group_add(self.group, self.channel_name)
        state = await state_of(project, params["pk"])
        if state is None:
            await self.close(code=NOT_ALLOWED)
            return
        await self.accept()
        await self.send_json({**state, "run_kind": state["kind"], "kind": "everything"})

    async def disconnect(self, code: int) -> None:
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def announce(self, message: dict[str, Any]) -> None:
        await self.send_json(message["event"])
