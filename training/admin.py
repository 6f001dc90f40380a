"""Runs, models and rounds at /admin/, read-only: their own pages start, stop and promote."""

from __future__ import annotations

from django.contrib import admin

from annotation.admin import ReadOnly
from training.models import Loop, Metric, ModelVersion, Round, Run


@admin.register(Run)
class RunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("__str__", "project", "state", "step", "total", "attempt", "heartbeat_at", "created_at")
    list_filter = ("state", "kind", "project")
    list_select_related = ("project",)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "kind", "project", "parent", "current", "created_at")
    list_filter = ("kind", "project")
    list_select_related = ("project", "parent")


@admin.register(Metric)
class MetricAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("run", "step", "values")
    list_select_related = ("run",)
    show_full_result_count = False


@admin.register(Loop)
class LoopAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "project", "recipe", "active", "after_judgments", "created_at")
    list_select_related = ("project",)


@admin.register(Round)
class RoundAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("__str__", "loop", "recipe", "state", "step", "decision", "created_at", "finished_at")
    list_filter = ("state", "recipe")
    list_select_related = ("loop",)
