"""The WebSocket routes."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from annotation.consumers import ProjectConsumer, UnknownPath
from training.consumers import RunConsumer

websocket_urlpatterns: list[Any] = [
    path("ws/p/<slug:slug>/", ProjectConsumer.as_asgi(), name="project-live"),  # type: ignore[arg-type]
    path("ws/p/<slug:slug>/runs/<int:pk>/", RunConsumer.as_asgi(), name="run-live-socket"),  # type: ignore[arg-type]
    re_path("", UnknownPath.as_asgi()),  # type: ignore[arg-type]
]
