"""The form fields of what a run asks of the machines; each is there only where the site leaves a choice."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _

from training.configs import KINDS
from training.runs.resources import MAX_PRIORITY, most_gpus, most_nodes, queues


def resource_fields(kind: str) -> dict[str, forms.Field]:
    """The fields by their names of `RESOURCES`; none where runs are single processes of one machine."""
    fields: dict[str, forms.Field] = {}
    is_distributable = KINDS[kind].distributable
    if is_distributable and (most := most_nodes()) > 1:
        fields["nodes"] = forms.IntegerField(
            label=_("Nodes"),
            required=False,
            min_value=1,
            max_value=most,
            initial=1,
            help_text=_("Machines that do the run together: at most %(most)s.") % {"most": most},
        )
    if is_distributable and (most := most_gpus()) > 1:
        fields["gpus"] = forms.IntegerField(
            label=_("GPUs"),
            required=False,
            min_value=1,
            max_value=most,
            initial=settings.TRAINER_PROCESSES,
            help_text=_("On each node: at most %(most)s.") % {"most": most},
        )
    if names := queues():
        fields["queue"] = forms.ChoiceField(
            label=_("Queue"),
            required=False,
            choices=[(name, name) for name in names],
            help_text=_("Of the cluster's scheduler."),
        )
    if fields or settings.LAUNCHER or settings.GPUS:
        fields["priority"] = forms.IntegerField(
            label=_("Priority"),
            required=False,
            min_value=-MAX_PRIORITY,
            max_value=MAX_PRIORITY,
            initial=0,
            help_text=_("Of the runs that wait, those of a higher priority are started first."),
        )
    return fields
