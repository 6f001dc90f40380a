from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from annotation.api.idempotency import guarded
from config.health import healthz

handler500 = "config.health.broken"
urlpatterns = [
    path("", include("annotation.urls")),
    path("", include("training.urls")),
    path("api/v1/", include(guarded("annotation.api.urls"))),
    path("api/v1/", include(guarded("training.api.urls"))),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
]
