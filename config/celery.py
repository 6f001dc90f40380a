"""The Celery application. Imported by `config`, so that every process talks to the same broker."""

from __future__ import annotations

import os

from celery import Celery

from config import log_context, shutdown  # noqa: F401 - they listen to Celery's signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("palate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
