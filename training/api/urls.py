from __future__ import annotations

from django.urls import path, re_path

from annotation.api.errors import UnknownAddressApi
from training.api.comparisons import ComparedPromptsApi, CompareQueueApi, ComparisonApi
from training.api.leaderboard import LeaderboardApi, PairsApi
from training.api.models import DownloadApi, LineageApi, ModelsApi, PromoteApi, RetireApi
from training.api.rounds import LoopApi, LoopsApi, RoundActApi, RoundApi, RoundsApi
from training.api.run_reports import MetricsApi, RunLogApi
from training.api.runs import CancelApi, ResumeApi, RunApi, RunsApi

PAIR = "projects/<slug:slug>/comparisons/<int:policy>/<int:baseline>/"

urlpatterns = [
    path("projects/<slug:slug>/runs/", RunsApi.as_view(), name="api-runs"),
    path("projects/<slug:slug>/models/", ModelsApi.as_view(), name="api-models"),
    path("runs/<int:pk>/", RunApi.as_view(), name="api-run"),
    path("runs/<int:pk>/metrics/", MetricsApi.as_view(), name="api-run-metrics"),
    path("runs/<int:pk>/log/", RunLogApi.as_view(), name="api-run-log"),
    path("runs/<int:pk>/cancel/", CancelApi.as_view(), name="api-run-cancel"),
    path("runs/<int:pk>/resume/", ResumeApi.as_view(), name="api-run-resume"),
    path("models/<int:pk>/promote/", PromoteApi.as_view(), name="api-model-promote"),
    path("models/<int:pk>/retire/", RetireApi.as_view(), name="api-model-retire"),
    path("models/<int:pk>/file/", DownloadApi.as_view(), name="api-model-file"),
    path("models/<int:pk>/lineage/", LineageApi.as_view(), name="api-model-lineage"),
    path("projects/<slug:slug>/loops/", LoopsApi.as_view(), name="api-loops"),
    path("projects/<slug:slug>/leaderboard/", LeaderboardApi.as_view(), name="api-leaderboard"),
    path("projects/<slug:slug>/leaderboard/pairs/", PairsApi.as_view(), name="api-leaderboard-pairs"),
    path(PAIR, ComparisonApi.as_view(), name="api-comparison"),
    path(f"{PAIR}prompts/", ComparedPromptsApi.as_view(), name="api-comparison-prompts"),
    path(f"{PAIR}queue/", CompareQueueApi.as_view(), name="api-comparison-queue"),
    path("loops/<int:pk>/", LoopApi.as_view(), name="api-loop"),
    path("loops/<int:pk>/rounds/", RoundsApi.as_view(), name="api-rounds"),
    path("rounds/<int:pk>/", RoundApi.as_view(), name="api-round"),
    path("rounds/<int:pk>/<slug:verb>/", RoundActApi.as_view(), name="api-round-act"),
    # last, because it answers for whatever is left
    re_path("^", UnknownAddressApi.as_view()),
]
