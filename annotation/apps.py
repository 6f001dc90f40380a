from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext, ngettext

from annotation.logic import translation


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        translation.use(gettext, ngettext)
