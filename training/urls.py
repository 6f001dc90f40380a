from __future__ import annotations

from django.urls import path

from training.views import (
    chat_settings,
    leaderboard,
    model_comparison,
    models,
    overview,
    palette,
    playground,
    rounds,
    run_curves,
    runs,
)

urlpatterns = [
    path("go/", palette.palette_page, name="palette"),
    path("p/<slug:slug>/", overview.project, name="project"),
    path("p/<slug:slug>/loop/", overview.project_loop, name="project-loop"),
    path("p/<slug:slug>/settings/chat/", chat_settings.chat_settings, name="chat-settings"),
    path("p/<slug:slug>/runs/", runs.runs, name="runs"),
    path("p/<slug:slug>/runs/bulk/", runs.runs_bulk, name="runs-bulk"),
    path("p/<slug:slug>/runs/undo/", runs.runs_undo, name="runs-undo"),
    path("p/<slug:slug>/runs/new/<slug:kind>/", runs.run_new, name="run-new"),
    path("p/<slug:slug>/runs/curves/", run_curves.run_curves, name="run-curves"),
    path("p/<slug:slug>/runs/curves.csv", run_curves.run_curves_csv, name="run-curves-csv"),
    path("p/<slug:slug>/runs/<int:pk>/", runs.run, name="run"),
    path("p/<slug:slug>/runs/<int:pk>/live/", runs.run_live, name="run-live"),
    path("p/<slug:slug>/runs/<int:pk>/cancel/", runs.run_cancel, name="run-cancel"),
    path("p/<slug:slug>/runs/<int:pk>/resume/", runs.run_resume, name="run-resume"),
    path("p/<slug:slug>/ai-feedback/<int:number>/runs/", runs.opinion_set_runs, name="opinion-set-runs"),
    path("p/<slug:slug>/rounds/", rounds.rounds_page, name="rounds"),
    path("p/<slug:slug>/rounds/live/", rounds.rounds_live, name="rounds-live"),
    path("p/<slug:slug>/rounds/new/", rounds.round_new, name="round-new"),
    path("p/<slug:slug>/rounds/<int:pk>/", rounds.round_page, name="round"),
    path("p/<slug:slug>/rounds/<int:pk>/live/", rounds.round_live, name="round-live"),
    path("p/<slug:slug>/rounds/<int:pk>/<slug:verb>/", rounds.round_act, name="round-act"),
    path("p/<slug:slug>/models/", models.models, name="models"),
    path("p/<slug:slug>/models/compare/", model_comparison.model_compare, name="model-compare"),
    path("p/<slug:slug>/models/compare.csv", model_comparison.model_compare_csv, name="model-compare-csv"),
    path(
        "p/<slug:slug>/models/compare/start/",
        model_comparison.model_compare_start,
        name="model-compare-start",
    ),
    path(
        "p/<slug:slug>/models/compare/queue/",
        model_comparison.model_compare_queue,
        name="model-compare-queue",
    ),
    path("p/<slug:slug>/models/leaderboard/", leaderboard.leaderboard, name="leaderboard"),
    path("p/<slug:slug>/playground/", playground.playground, name="playground"),
    path(
        "p/<slug:slug>/playground/<slug:key>/stream/", playground.playground_stream, name="playground-stream"
    ),
    path(
        "p/<slug:slug>/playground/<slug:key>/events/", playground.playground_events, name="playground-events"
    ),
    path("p/<slug:slug>/playground/<slug:key>/queue/", playground.playground_queue, name="playground-queue"),
    path("p/<slug:slug>/models/<int:pk>/card.md", models.model_card, name="model-card"),
    path("p/<slug:slug>/models/<int:pk>/download/", models.model_download, name="model-download"),
    path("p/<slug:slug>/models/<int:pk>/retire/", models.model_retire, name="model-retire"),
    path("p/<slug:slug>/models/<int:pk>/", models.model, name="model"),
    path("p/<slug:slug>/models/<int:pk>/promote/", models.model_promote, name="model-promote"),
]
