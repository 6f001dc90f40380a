"""The form fields of a run that generates answers: to which prompts, and whether they go into the queue."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.analytics import unqueued_prompt_count
from annotation.analytics.figures import counted_or_none
from annotation.analytics.filters import NO_FILTERS
from annotation.logic.translation import format_number
from annotation.models import Project, Prompt

DEFAULT_PROMPTS = 50


def generation_fields(project: Project) -> dict[str, forms.Field]:
    """By name. In a large project the help says how many prompts have no item once a worker has counted them."""
    unqueued = counted_or_none(project, lambda: unqueued_prompt_count(project, NO_FILTERS))
    if unqueued is None:
        help_text = _("How many prompts. Those with the fewest items come first.")
    else:
        help_text = ngettext(
            "How many prompts. Those with the fewest items come first; %(n)s has none.",
            "How many prompts. Those with the fewest items come first; %(n)s have none.",
            unqueued,
        ) % {"n": format_number(unqueued)}
    return {
        "prompts": forms.IntegerField(
            label=_("Prompts"),
            min_value=1,
            max_value=1_000_000,
            initial=min(unqueued or DEFAULT_PROMPTS, DEFAULT_PROMPTS),
            help_text=help_text,
        ),
        "split": forms.ChoiceField(
            label=_("Split"),
            required=False,
            choices=[
                (Prompt.Split.TRAIN, _("Training prompts")),
                (Prompt.Split.HELD_OUT, _("Held-out prompts")),
                ("any", _("Any prompts")),
            ],
            initial="any",
            help_text=_("Models are evaluated, never trained, on judgments of held-out prompts."),
        ),
        "publish": forms.BooleanField(
            label=_("Send answers for annotation"),
            required=False,
            initial=True,
            help_text=_("They go into the queue. Otherwise they are only saved."),
        ),
    }
