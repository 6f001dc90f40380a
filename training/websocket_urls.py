"""The WebSocket routes."""

from __future__ import annotations

from typing import Any

from django.urls import path

from annotation.consumers import ProjectConsumer
from training.consumers import RunConsumer

websocket_urlpatterns: list[Any] = [
    path("ws/p/<slug:slug>/", ProjectConsumer.as_asgi(), name="project-live"),  # type: ignore[arg-type]
    path("ws/p/<slug:slug>/runs/<int:pk>/", RunConsumer.as_asgi(), name="run-live-socket"),  # type: ignore[arg-type]
]
