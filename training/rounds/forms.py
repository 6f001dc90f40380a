"""The form that sets a loop up and begins its next round. Its settings come from `training.rounds.recipes`."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms

from annotation.models import Member, Project
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop
from training.rounds import transitions
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError
from training.rounds.settings import MAIN, MOST_JUDGMENTS, RoundSettings, settings_from
from training.runs.forms import PREFIX, field_of

DAYS = [
    (n, day)
    for n, day in enumerate(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])
]

OFFERED = {
    "last": "the last round's policy",
    "first": "the loop's first policy",
    "base": "the base model",
    "start": "where the round starts",
    "uncertain": "where it is unsure",
    "disagreement": "where two models differ",
    "uniform": "all prompts alike",
}
"""What can be chosen, in words."""


class LoopForm(forms.Form):
    """A setting that is left empty has the recipe's default."""

    def __init__(self, me: Member, loop: Loop | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.me, self.loop = me, loop
        recipe = loop.recipe if loop else "dpo"
        self.fields["recipe"] = forms.ChoiceField(
            choices=[(one.name, one.title) for one in RECIPES.values()],
            initial=recipe,
            widget=forms.RadioSelect,
        )
        led = Member.objects.filter(user=me.user, role=Member.Role.LEAD).exclude(project=me.project)
        self.fields["safety_project"] = forms.ModelChoiceField(
            Project.objects.filter(pk__in=led.values("project")),
            required=False,
            label="Where people judge what is safe",
            empty_label="Nowhere: one reward model",
            initial=loop.safety_project_id if loop else None,
            help_text="A project of yours with the safety judgments that Llama 2's second reward model learns from.",
        )
        self.fields["after_judgments"] = forms.IntegerField(
            label="After so many new judgments",
            required=False,
            min_value=1,
            max_value=MOST_JUDGMENTS,
            initial=loop.after_judgments if loop else None,
            help_text="Rounds begin by themselves once so many are new. Empty: they do not.",
        )
        self.fields["weekdays"] = forms.TypedMultipleChoiceField(
            label="Every week on",
            required=False,
            coerce=int,
            choices=DAYS,
            initial=loop.weekdays if loop else [],
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["hour"] = forms.IntegerField(
            label="From this hour (UTC)",
            required=False,
            min_value=0,
            max_value=23,
            initial=loop.hour if loop else 6,
        )
        known = settings_from(loop.options, recipe).to_dict() if loop else RoundSettings().to_dict()
        for setting in dataclasses.fields(RoundSettings):
            field = field_of(setting)
            value = known[setting.name] if loop and setting.name in loop.options else None
            field.initial = ("yes" if value else "no") if isinstance(value, bool) else value
            field.widget.attrs["placeholder"] = str(known[setting.name])
            if isinstance(field, forms.ChoiceField):
                offered = setting.metadata["choices"] or ("yes", "no")
                usual = ("", f"As usual: {_said(known[setting.name])}")
                field.choices = [usual, *((choice, _said(choice)) for choice in offered)]
            self.fields[PREFIX + setting.name] = field

    def save(self) -> Loop | None:
        """The loop with these settings; None, with the error beside its field, where they do not fit."""
        given = self.cleaned_data
        options = {
            name.removeprefix(PREFIX): value
            for name, value in given.items()
            if name.startswith(PREFIX) and value not in (None, "")
        }
        try:
            return transitions.save_loop(
                project=self.me.project,
                creator=self.me.user,
                loop=self.loop,
                name=self.loop.name if self.loop else "",
                recipe=given["recipe"],
                options=options,
                configs=self.loop.configs if self.loop else {},
                safety_project=given["safety_project"],
                after_judgments=given["after_judgments"],
                weekdays=given["weekdays"],
                hour=6 if given["hour"] is None else given["hour"],
            )
        except ConfigsError as error:
            self.add_error(None, f"What the loop sets for its runs ({error.kind}) does not fit: {error}")
        except ConfigError as error:
            self.add_error(PREFIX + error.field, error.message[:1].upper() + error.message[1:])
        except RunError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return None

    def main(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in MAIN]

    def gates(self) -> list[forms.BoundField]:
        return [field for field in self._others() if str(field.label).startswith("Gate")]

    def more(self) -> list[forms.BoundField]:
        return [field for field in self._others() if not str(field.label).startswith("Gate")]

    def _others(self) -> list[forms.BoundField]:
        main = {PREFIX + name for name in MAIN}
        return [field for field in self if field.name.startswith(PREFIX) and field.name not in main]

    @staticmethod
    def described(options: dict[str, Any]) -> list[tuple[str, str, str]]:
        """A round's settings: what each is called, its value, and what it does."""
        return [
            (item.metadata["label"], _said(options[item.name]), item.metadata["help"])
            for item in dataclasses.fields(RoundSettings)
            if item.name in options
        ]


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else OFFERED.get(value, str(value))
