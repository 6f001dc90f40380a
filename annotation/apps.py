from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from annotation.db import jit
from annotation.logic import translation


def format_number(value: float, decimals: int) -> str:
    return number_format(f"{value:.{decimals}f}", decimals, force_grouping=True)


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        translation.use(gettext, ngettext, format_number)
        post_migrate.connect(jit.turn_off, sender=self)
