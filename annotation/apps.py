from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext, ngettext

from annotation.db import jit
from annotation.logic import translation


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        translation.use(gettext, ngettext)
        post_migrate.connect(jit.turn_off, sender=self)
