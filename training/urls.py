from __future__ import annotations

from django.urls import path

from training.views import models, overview, runs

urlpatterns = [
    path("p/<slug:slug>/", overview.project, name="project"),
    path("p/<slug:slug>/loop/", overview.project_loop, name="project-loop"),
    path("p/<slug:slug>/runs/", runs.runs, name="runs"),
    path("p/<slug:slug>/runs/new/<slug:kind>/", runs.run_new, name="run-new"),
    path("p/<slug:slug>/runs/<int:pk>/", runs.run, name="run"),
    path("p/<slug:slug>/runs/<int:pk>/live/", runs.run_live, name="run-live"),
    path("p/<slug:slug>/runs/<int:pk>/cancel/", runs.run_cancel, name="run-cancel"),
    path("p/<slug:slug>/runs/<int:pk>/resume/", runs.run_resume, name="run-resume"),
    path("p/<slug:slug>/models/", models.models, name="models"),
    path("p/<slug:slug>/models/<int:pk>/", models.model, name="model"),
    path("p/<slug:slug>/models/<int:pk>/promote/", models.model_promote, name="model-promote"),
]
