"""The default learning rate of a run in one line, with its source, as forms show it."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from django.contrib.humanize.templatetags.humanize import intword
from django.utils.translation import gettext as _

from training.configs import KINDS
from training.configs.size_defaults import SMALL, lora_rate, size_default
from training.models import ModelVersion
from training.registry.model_size import parameter_count


def describe_default(kind: str, model: ModelVersion | None) -> str:
    """The learning rate of a run of this kind that sets none, and why; empty for a kind that trains nothing. model: what it
    starts from; None for a new model, which is small."""
    own: Any = next((item.default for item in fields(KINDS[kind]) if item.name == "learning_rate"), None)
    if own is None:
        return ""
    parameters = parameter_count(model.location) if model else 0
    row = size_default(kind, parameters)
    if row is None:
        text = _("%(rate)s by default, as for all models below %(small)s.") % {
            "rate": format_rate(own),
            "small": _in_words(SMALL),
        }
    else:
        text = _("%(rate)s by default, %(lora)s with LoRA: %(source)s.") % {
            "rate": format_rate(row.learning_rate),
            "lora": format_rate(lora_rate(row.learning_rate)),
            "source": _(row.source),
        }
    return f"{text} {_describe_size(model, parameters)}".rstrip()


def _describe_size(model: ModelVersion | None, parameters: int | None) -> str:
    if model is None:
        return ""
    if parameters is None:
        return _("The size of %(model)s is not known: it does not count as small.") % {"model": model}
    return _("%(model)s has %(count)s parameters.") % {"model": model, "count": _in_words(parameters)}


def _in_words(count: int) -> str:
    """7.6 billion, and 500 million rather than 500.0."""
    return re.sub(r"[.,]0(?= )", "", str(intword(count)))


def format_rate(number: float) -> str:
    """As papers write it: 1e-5, not 1e-05 or 0.00001."""
    return f"{number:.0e}".replace("e-0", "e-") if float(f"{number:.0e}") == number else f"{number:g}"
