"""Root URL configuration."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import JavaScriptCatalog

from annotation.api.idempotency import load_api_urls

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
handler500 = "config.health.server_error"
urlpatterns = [
    path("", include("annotation.urls")),
    path("", include("training.urls")),
    path("api/v1/", include(load_api_urls("annotation.api.urls"))),
    path("api/v1/", include(load_api_urls("training.api.urls"))),
    path(
        "texts.js", JavaScriptCatalog.as_view(packages=["annotation", "training"]), name="javascript-catalog"
    ),
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
]
