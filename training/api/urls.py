from __future__ import annotations

from django.urls import path, re_path

from annotation.api.errors import NoSuchAddress
from training.api.models import LineageApi, ModelsApi, PromoteApi
from training.api.runs import CancelApi, MetricsApi, ResumeApi, RunApi, RunsApi

urlpatterns = [
    path("projects/<slug:slug>/runs/", RunsApi.as_view(), name="api-runs"),
    path("projects/<slug:slug>/models/", ModelsApi.as_view(), name="api-models"),
    path("runs/<int:pk>/", RunApi.as_view(), name="api-run"),
    path("runs/<int:pk>/metrics/", MetricsApi.as_view(), name="api-run-metrics"),
    path("runs/<int:pk>/cancel/", CancelApi.as_view(), name="api-run-cancel"),
    path("runs/<int:pk>/resume/", ResumeApi.as_view(), name="api-run-resume"),
    path("models/<int:pk>/promote/", PromoteApi.as_view(), name="api-model-promote"),
    path("models/<int:pk>/lineage/", LineageApi.as_view(), name="api-model-lineage"),
    # last, because it answers for whatever is left
    re_path("^", NoSuchAddress.as_view()),
]
