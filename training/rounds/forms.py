"""The form with a loop's recipe, settings and schedule; its fields are those of `RoundSettings`."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms
from django.utils.dates import WEEKDAYS
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.logic.translation import format_digits
from annotation.models import Member, Project
from training.configs import ConfigError
from training.errors import RunError, describe_error, message_of
from training.models import Loop
from training.rounds.loops import save_loop
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError
from training.rounds.settings import (
    GATE_SETTINGS,
    MAIN_SETTINGS,
    MAX_JUDGMENTS,
    RoundSettings,
    changed_settings,
    settings_from,
)
from training.runs.forms import PREFIX, field_of

CHOICE_LABELS = {
    "last": gettext_lazy("policy of the last round"),
    "first": gettext_lazy("first policy of the loop"),
    "base": gettext_lazy("base model"),
    "start": gettext_lazy("starting policy"),
    "uncertain": gettext_lazy("most uncertain"),
    "disagreement": gettext_lazy("most disagreement between two reward models"),
    "cascade": gettext_lazy("those of which the AI judge is not sure"),
    "uniform": gettext_lazy("random"),
    "all": gettext_lazy("all judgments"),
    "new": gettext_lazy("new judgments only"),
    "yes": gettext_lazy("yes"),
    "no": gettext_lazy("no"),
}
"""Labels of the choices of `RoundSettings`."""


class LoopForm(forms.Form):
    """An empty setting takes the recipe's default."""

    def __init__(self, me: Member, loop: Loop | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.me, self.loop = me, loop
        recipe = loop.recipe if loop else "dpo"
        self.fields["recipe"] = forms.ChoiceField(
            choices=[(item.name, _(item.title)) for item in RECIPES.values()],
            label=_("Recipe"),
            initial=recipe,
            widget=forms.RadioSelect,
        )
        led = Member.objects.filter(user=me.user, role=Member.Role.LEAD).exclude(project=me.project)
        self.fields["safety_project"] = forms.ModelChoiceField(
            Project.objects.filter(pk__in=led.values("project")),
            required=False,
            label=_("Safety project"),
            empty_label=_("None: no safety reward model"),
            initial=loop.safety_project_id if loop else None,
            help_text=_(
                "A project of yours whose annotators judge safety: Llama 2's safety reward model is trained on it."
            ),
        )
        self.fields["after_judgments"] = forms.IntegerField(
            label=_("Start after new judgments"),
            required=False,
            min_value=1,
            max_value=MAX_JUDGMENTS,
            initial=loop.after_judgments if loop else None,
            help_text=_("A round starts automatically after this many new judgments. Empty: it does not."),
        )
        self.fields["weekdays"] = forms.TypedMultipleChoiceField(
            label=_("Start every week on"),
            required=False,
            coerce=int,
            choices=list(WEEKDAYS.items()),
            initial=loop.weekdays if loop else [],
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["hour"] = forms.IntegerField(
            label=_("Start hour (UTC)"),
            required=False,
            min_value=0,
            max_value=23,
            initial=loop.hour if loop else 6,
        )
        values = settings_from(loop.options, recipe).to_dict() if loop else RoundSettings().to_dict()
        for setting in dataclasses.fields(RoundSettings):
            field = field_of(setting)
            value = values[setting.name] if loop and setting.name in loop.options else None
            field.initial = ("yes" if value else "no") if isinstance(value, bool) else value
            field.widget.attrs["placeholder"] = str(values[setting.name])
            if isinstance(field, forms.ChoiceField):
                choices = setting.metadata["choices"] or ("yes", "no")
                default = (
                    "",
                    _("Default: %(value)s") % {"value": _value_label(setting, values[setting.name])},
                )
                field.choices = [default, *((choice, _value_label(setting, choice)) for choice in choices)]
            self.fields[PREFIX + setting.name] = field

    def save(self) -> Loop | None:
        """Save the loop; None if its settings are invalid, with the errors in the form."""
        data = self.cleaned_data
        options = {
            name.removeprefix(PREFIX): value
            for name, value in data.items()
            if name.startswith(PREFIX) and value not in (None, "")
        }
        try:
            return save_loop(
                project=self.me.project,
                creator=self.me.user,
                loop=self.loop,
                name=self.loop.name if self.loop else "",
                recipe=data["recipe"],
                options=options,
                configs=self.loop.configs if self.loop else {},
                safety_project=data["safety_project"],
                after_judgments=data["after_judgments"],
                weekdays=data["weekdays"],
                hour=6 if data["hour"] is None else data["hour"],
            )
        except ConfigsError as error:
            text = _("Invalid run settings of the loop (%(kind)s): %(error)s")
            self.add_error(None, text % {"kind": error.kind, "error": describe_error(error)})
        except ConfigError as error:
            self.add_error(PREFIX + error.field, capfirst(message_of(error)))
        except RunError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return None

    def main_fields(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in MAIN_SETTINGS]

    def gate_fields(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in GATE_SETTINGS]

    def other_fields(self) -> list[forms.BoundField]:
        others = {PREFIX + name for name in (*MAIN_SETTINGS, *GATE_SETTINGS)}
        return [field for field in self if field.name.startswith(PREFIX) and field.name not in others]

    @staticmethod
    def describe(options: dict[str, Any], recipe: str) -> list[tuple[str, str, str, str]]:
        """A round's settings: label, value, the recipe's default if it is another value, and help of each."""
        changed = changed_settings(options, recipe)
        return [
            (
                _(item.metadata["label"]),
                _value_label(item, options[item.name]),
                _value_label(item, changed[item.name]) or "–" if item.name in changed else "",
                _(item.metadata["help"]),
            )
            for item in dataclasses.fields(RoundSettings)
            if item.name in options
        ]


def _value_label(setting: dataclasses.Field[Any], value: Any) -> str:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, float):
        return format_digits(value, 6)
    has_labels = setting.metadata["choices"] or setting.type == "bool"
    return str(CHOICE_LABELS.get(value, value) if has_labels else value)
