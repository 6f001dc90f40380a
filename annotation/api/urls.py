from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from annotation.api import schema  # noqa: F401 - its class registers itself
from annotation.api.judgments import JudgmentsApi
from annotation.api.projects import ProjectApi, ProjectsApi
from annotation.api.prompts import PromptsApi
from annotation.api.queue import NextApi, SkipApi
from annotation.api.snapshots import SnapshotsApi

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    path("projects/", ProjectsApi.as_view(), name="api-projects"),
    path("projects/<slug:slug>/", ProjectApi.as_view(), name="api-project"),
    path("projects/<slug:slug>/prompts/", PromptsApi.as_view(), name="api-prompts"),
    path("projects/<slug:slug>/judgments/", JudgmentsApi.as_view(), name="api-judgments"),
    path("projects/<slug:slug>/next/", NextApi.as_view(), name="api-next"),
    path("projects/<slug:slug>/skip/", SkipApi.as_view(), name="api-skip"),
    path("projects/<slug:slug>/snapshots/", SnapshotsApi.as_view(), name="api-snapshots"),
]
