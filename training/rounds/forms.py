"""The form with a loop's recipe, settings and schedule; its fields are those of `RoundSettings`."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms
from django.utils.dates import WEEKDAYS

from annotation.models import Member, Project
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop
from training.rounds.loops import save_loop
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError
from training.rounds.settings import MAIN_SETTINGS, MAX_JUDGMENTS, RoundSettings, settings_from
from training.runs.forms import PREFIX, field_of

CHOICE_LABELS = {
    "last": "policy of the last round",
    "first": "first policy of the loop",
    "base": "base model",
    "start": "starting policy",
    "uncertain": "most uncertain",
    "disagreement": "most disagreement between two reward models",
    "uniform": "random",
    "all": "all judgments",
    "new": "new judgments only",
}
"""Labels of the choices of `RoundSettings`."""


class LoopForm(forms.Form):
    """An empty setting takes the recipe's default."""

    def __init__(self, me: Member, loop: Loop | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.me, self.loop = me, loop
        recipe = loop.recipe if loop else "dpo"
        self.fields["recipe"] = forms.ChoiceField(
            choices=[(item.name, item.title) for item in RECIPES.values()],
            initial=recipe,
            widget=forms.RadioSelect,
        )
        led = Member.objects.filter(user=me.user, role=Member.Role.LEAD).exclude(project=me.project)
        self.fields["safety_project"] = forms.ModelChoiceField(
            Project.objects.filter(pk__in=led.values("project")),
            required=False,
            label="Safety project",
            empty_label="None: no safety reward model",
            initial=loop.safety_project_id if loop else None,
            help_text="A project of yours whose annotators judge safety: Llama 2's safety reward model is trained on it.",
        )
        self.fields["after_judgments"] = forms.IntegerField(
            label="Start after new judgments",
            required=False,
            min_value=1,
            max_value=MAX_JUDGMENTS,
            initial=loop.after_judgments if loop else None,
            help_text="A round starts automatically after this many new judgments. Empty: it does not.",
        )
        self.fields["weekdays"] = forms.TypedMultipleChoiceField(
            label="Start every week on",
            required=False,
            coerce=int,
            choices=list(WEEKDAYS.items()),
            initial=loop.weekdays if loop else [],
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["hour"] = forms.IntegerField(
            label="Start hour (UTC)",
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
                default = ("", f"Default: {_value_label(setting, values[setting.name])}")
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
            self.add_error(None, f"Invalid run settings of the loop ({error.kind}): {error}")
        except ConfigError as error:
            self.add_error(PREFIX + error.field, error.message[:1].upper() + error.message[1:])
        except RunError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return None

    def main_fields(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in MAIN_SETTINGS]

    def gate_fields(self) -> list[forms.BoundField]:
        return [field for field in self._secondary_fields() if str(field.label).startswith("Gate")]

    def other_fields(self) -> list[forms.BoundField]:
        return [field for field in self._secondary_fields() if not str(field.label).startswith("Gate")]

    def _secondary_fields(self) -> list[forms.BoundField]:
        main = {PREFIX + name for name in MAIN_SETTINGS}
        return [field for field in self if field.name.startswith(PREFIX) and field.name not in main]

    @staticmethod
    def describe(options: dict[str, Any]) -> list[tuple[str, str, str]]:
        """A round's settings: label, value and help of each."""
        return [
            (item.metadata["label"], _value_label(item, options[item.name]), item.metadata["help"])
            for item in dataclasses.fields(RoundSettings)
            if item.name in options
        ]


def _value_label(setting: dataclasses.Field[Any], value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return CHOICE_LABELS.get(value, value) if setting.metadata["choices"] else str(value)
