"""The forms that start runs and add models; labels, help, bounds and choices of settings come from `training.configs`."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms
from django.conf import settings
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotation.logic.translation import format_number
from annotation.models import OpinionSet, Project, Prompt, Snapshot, User
from training.configs import KINDS, ConfigError
from training.errors import RunError, message_of
from training.models import ModelVersion, Run
from training.registry import model_sources
from training.registry.actions import current_model
from training.runs.actions import start_run
from training.runs.ai_inputs import LEARNS_FROM_OPINIONS
from training.runs.estimates import describe_costs
from training.runs.generation_fields import generation_fields
from training.runs.kinds import LEARNS_JUDGMENTS, MAKES_POLICY, NEEDS_SNAPSHOT
from training.runs.learning_rates import describe_default
from training.runs.resource_fields import resource_fields
from training.runs.resources import RESOURCES
from training.runs.reward_sources import (
    LEARNS_REWARDS,
    REWARD_SOURCES,
    model_label,
    source_arguments,
    source_choices,
    source_value,
)

MAIN_SETTINGS = {
    Run.Kind.REWARD: ("epochs", "learning_rate", "margin"),
    Run.Kind.DPO: ("beta", "epochs", "learning_rate"),
    Run.Kind.KTO: ("beta", "epochs", "learning_rate"),
    Run.Kind.REJECTION: ("samples", "temperature", "max_new_tokens"),
    Run.Kind.REST: ("samples", "thresholds", "epochs"),
    Run.Kind.HINDSIGHT: ("good_instruction", "bad_instruction", "epochs"),
    Run.Kind.PPO: ("beta", "epochs", "learning_rate"),
    Run.Kind.GRPO: ("beta", "samples", "epochs"),
    Run.Kind.REINFORCE: ("beta", "baseline", "epochs"),
    Run.Kind.ONLINE: ("beta", "labels", "epochs"),
    Run.Kind.GENERATE: ("samples", "temperature", "max_new_tokens"),
    Run.Kind.EVALUATE: ("split",),
    Run.Kind.JUDGE: ("mode", "server", "server_model"),
    Run.Kind.REVISE: ("mode", "samples", "revisions"),
    Run.Kind.SFT: ("epochs", "learning_rate", "reduction"),
    Run.Kind.PRETRAIN: ("layers", "hidden_size", "epochs"),
}
"""The settings that are shown at once; the others are under “Advanced”."""

PREFIX = "setting_"


class SnapshotChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Snapshot) -> str:
        note = f" – {obj.note}" if obj.note else ""
        n = obj.counts.get("pairs", 0) + obj.counts.get("imported_pairs", 0)
        pairs = ngettext("%(n)s pair", "%(n)s pairs", n) % {"n": format_number(n)}
        return f"{obj}: {obj.summary}, {pairs}{note}"


class ModelChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: ModelVersion) -> str:
        return model_label(obj)


class RunForm(forms.Form):
    """The form that starts one kind of run. A setting that is missing or empty has its default."""

    def __init__(self, project: Project, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project, self.kind = project, kind
        self._add_model()
        if kind in NEEDS_SNAPSHOT:
            self._add_snapshot()
        if kind in LEARNS_FROM_OPINIONS:
            self._add_opinions()
        if kind in LEARNS_REWARDS:
            self._add_reward_source()
        if kind in (Run.Kind.SFT, Run.Kind.PRETRAIN):
            self._add_text_file()
        if kind in (Run.Kind.REWARD, *MAKES_POLICY):
            self._add_name()
        if kind in LEARNS_REWARDS:
            self._add_rollout_prompts()
        if kind == Run.Kind.GENERATE:
            self.fields |= generation_fields(self.project)
        if kind in (Run.Kind.JUDGE, Run.Kind.REVISE):
            self._add_ai_feedback_fields()
        for setting in dataclasses.fields(KINDS[kind]):
            if setting.name in REWARD_SOURCES:
                continue
            field = self.fields[PREFIX + setting.name] = field_of(setting)
            if setting.metadata["choices"]:  # the values' own names, which the help explains
                field.widget.attrs["data-not-translated"] = True
        if kind == Run.Kind.GENERATE:
            self.fields[PREFIX + "samples"].initial = project.k
        if model := self.fields["model"].initial:
            for name, tokens in model_sources.default_lengths(kind, model.location).items():
                self.fields[PREFIX + name].initial = tokens
        self.fields |= resource_fields(kind)
        self._describe_model()

    def _add_model(self) -> None:
        from_scratch = self.kind == Run.Kind.PRETRAIN
        evaluates = self.kind == Run.Kind.EVALUATE
        kind = ModelVersion.Kind.REWARD if evaluates else ModelVersion.Kind.POLICY
        helps = {
            Run.Kind.REWARD: _("The reward model starts as a copy of this policy."),
            **dict.fromkeys(
                LEARNS_JUDGMENTS,
                _("The new version is trained from it, and it is the reference of the KL penalty."),
            ),
            **dict.fromkeys(
                LEARNS_REWARDS,
                _("The new version is trained from it, on the rewards of its answers."),
            ),
            Run.Kind.GENERATE: _("The policy that generates the answers."),
            Run.Kind.EVALUATE: _("The model whose scores are compared with the judgments."),
            Run.Kind.SFT: _("The new version is trained from it."),
            Run.Kind.JUDGE: _("The model that judges. With a server, the server's model judges instead."),
            Run.Kind.REVISE: _("The policy whose answers are revised."),
            Run.Kind.PRETRAIN: _(
                "The model to continue training; without one, a new small model is initialized."
            ),
        }
        self.fields["model"] = ModelChoice(
            ModelVersion.objects.filter(project=self.project, kind=kind, retired_at=None),
            label=kind.label,
            required=False,
            empty_label=_("A new model") if from_scratch else None,
            initial=None if from_scratch else current_model(self.project, kind),
            help_text=helps[Run.Kind(self.kind)],
        )

    def _add_reward_source(self) -> None:
        current = current_model(self.project, ModelVersion.Kind.REWARD)
        self.fields["reward_source"] = forms.ChoiceField(
            choices=source_choices(self.project),
            label=_("Rewards from"),
            required=False,
            initial=f"reward_model={current.pk}" if current else "",
            help_text=_(
                "What scores the answers: a reward model, a model that judges them by the constitution, or a Python function that"
                " the administrator allows."
            ),
        )

    def _describe_model(self) -> None:
        """Say what follows from the chosen model: the costs and, in place of a learning rate, the default one; again after each
        choice."""
        try:
            model = self.fields["model"].clean(self["model"].value())
        except forms.ValidationError:
            model = None
        self.costs = describe_costs(self.project, self.kind, model)
        """Sentences."""
        described = ["costs"]
        if PREFIX + "learning_rate" in self.fields:
            name = PREFIX + "learning_rate"
            field: Any = self.fields[name]
            field.initial, field.default_note = None, describe_default(self.kind, model)
            ids = f"{self[name].auto_id}_helptext", f"{self[name].auto_id}_default"
            field.widget.attrs["aria-describedby"] = " ".join(ids)
            described.append(ids[1])
        self.fields["model"].widget.attrs |= {
            "hx-get": reverse("run-new", args=[self.project.slug, self.kind]),
            "hx-trigger": "change",
            "hx-swap": "none",
            "hx-select-oob": ",".join(f"#{element}" for element in described),
        }

    def _add_opinions(self) -> None:
        opinion_sets = OpinionSet.objects.filter(project=self.project)
        if not opinion_sets:
            return
        self.fields["opinion_set"] = forms.ModelChoiceField(
            opinion_sets,
            label=_("AI opinions"),
            required=False,
            empty_label=_("None: people's judgments only"),
            help_text=_("They are recalibrated and weighted as their agreement with people allows."),
        )
        self.fields["ai"] = forms.ChoiceField(
            label=_("Use of the opinions"),
            required=False,
            choices=[("with", _("Beside people's judgments")), ("only", _("Without people's judgments"))],
            help_text=_("If opinions are chosen."),
        )

    def _add_ai_feedback_fields(self) -> None:
        self.fields["prompts"] = forms.IntegerField(
            label=_("Prompts"),
            required=False,
            min_value=1,
            max_value=1_000_000,
            initial=1000,
            help_text=_(
                "The most prompts. Those whose answers people judged come first: they measure the judge."
            )
            if self.kind == Run.Kind.JUDGE
            else _("The most training prompts to answer. Prompts with the fewest items come first."),
        )
        if self.kind == Run.Kind.JUDGE:
            self.fields["tag"] = forms.CharField(
                label=_("Tag"),
                required=False,
                max_length=100,
                help_text=_("Only prompts with this tag. Empty: any."),
            )

    def _add_rollout_prompts(self) -> None:
        counts = {split: self.project.prompts.filter(split=split).count() for split in Prompt.Split.values}
        for name, label, split, default, help_text in (
            (
                "prompts",
                _("Prompts"),
                Prompt.Split.TRAIN,
                1000,
                _("The most prompts to train on, of %(number)s. Prompts with the fewest items come first."),
            ),
            (
                "held_out",
                _("Held-out prompts"),
                Prompt.Split.HELD_OUT,
                50,
                _(
                    "The most prompts to evaluate on, of %(number)s. Prompts with the fewest items come first."
                ),
            ),
        ):
            self.fields[name] = forms.IntegerField(
                label=label,
                required=False,
                min_value=1,
                max_value=1_000_000,
                initial=default,
                help_text=help_text % {"number": format_number(counts[split])},
            )

    def _add_snapshot(self) -> None:
        snapshots = Snapshot.objects.filter(project=self.project)
        self.fields["snapshot"] = SnapshotChoice(
            snapshots,
            label=_("Snapshot"),
            required=False,
            empty_label=None,
            initial=snapshots.first(),
            help_text=_("The judgments to train on.")
            if self.kind != Run.Kind.EVALUATE
            else _("The judgments to compare with."),
        )

        if any(snapshot.counts.get("imported") for snapshot in snapshots):
            self.fields["imported"] = forms.ChoiceField(
                label=_("Imported judgments"),
                required=False,
                choices=[
                    ("", _("Beside the project's own, to train")),
                    ("exclude", _("Not used")),
                    ("only", _("Only these")),
                ],
                help_text=_("If the snapshot has any."),
            )

    def _add_text_file(self) -> None:
        text = _("Its name below %(folder)s on the server, one JSON object per line: %(example)s.")
        from_scratch = self.kind == Run.Kind.PRETRAIN
        example = '{"text": …}' if from_scratch else '{"messages": [{role, content}, …]}'
        self.fields["data"] = forms.CharField(
            label=_("Text file"),
            max_length=200,
            help_text=text % {"folder": f"{settings.ARTIFACTS}/texts", "example": example},
        )

    def _add_name(self) -> None:
        self.fields["name"] = forms.SlugField(
            label=_("Name of the new model"),
            required=False,
            max_length=60,
            help_text=_("If empty, it is named after the kind of run and numbered."),
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        samples = cleaned.get(PREFIX + "samples")
        if self.kind == Run.Kind.GENERATE and cleaned.get("publish") and samples is not None:
            self._check_samples(samples)
        return cleaned

    def _check_samples(self, samples: int) -> None:
        """Check that an item of the queue can have so many answers."""
        if not 2 <= samples <= 9:
            self.add_error(PREFIX + "samples", _("An item of the queue has 2 to 9 answers."))

    def start(self, creator: User) -> Run | None:
        """Start the run. Returns None, with an error at the field, if it cannot be started."""
        cleaned = self.cleaned_data
        models, config = source_arguments(self.project, cleaned.get("reward_source", ""))
        try:
            return start_run(
                project=self.project,
                kind=self.kind,
                creator=creator,
                config=self._config() | config,
                model=cleaned.get("model"),
                snapshot=cleaned.get("snapshot"),
                opinion_set=cleaned.get("opinion_set"),
                inputs=self._inputs(),
                resources={name: cleaned.get(name) for name in RESOURCES},
                **models,
            )
        except ConfigError as error:
            self.add_error(self._field_of(error.field), capfirst(message_of(error)))
        except RunError as error:
            self.add_error(self._field_of(error.field), str(error))
        return None

    def _field_of(self, name: str) -> str | None:
        """The field for an input or a setting of `start_run`; None if there is none."""
        name = "reward_source" if name in REWARD_SOURCES else name
        return next((field for field in (name, PREFIX + name) if field in self.fields), None)

    def _config(self) -> dict[str, Any]:
        return {
            name.removeprefix(PREFIX): value
            for name, value in self.cleaned_data.items()
            if name.startswith(PREFIX) and value not in (None, "")
        }

    def _inputs(self) -> dict[str, Any]:
        generates = self.kind == Run.Kind.GENERATE
        names = (
            ["prompts", "split", "publish"]
            if generates
            else ["name", "data", "prompts", "held_out", "imported", "tag"]
        )
        if self.cleaned_data.get("opinion_set"):
            names.append("ai")
        return {
            name: self.cleaned_data[name] for name in names if self.cleaned_data.get(name) not in (None, "")
        }

    def inputs(self) -> list[forms.BoundField]:
        """The fields that are not settings: models and data."""
        return [field for field in self if not field.name.startswith(PREFIX) and field.name not in RESOURCES]

    def main(self) -> list[forms.BoundField]:
        """The fields of MAIN_SETTINGS."""
        return [self[PREFIX + name] for name in MAIN_SETTINGS[Run.Kind(self.kind)]]

    def advanced(self) -> list[forms.BoundField]:
        """The fields of the other settings."""
        main = {field.name for field in self.main()}
        return [field for field in self if field.name.startswith(PREFIX) and field.name not in main]

    def resources(self) -> list[forms.BoundField]:
        """The fields of what the run asks of the machines."""
        return [self[name] for name in RESOURCES if name in self.fields]

    def advanced_has_errors(self) -> bool:
        return any(field.errors for field in self.advanced())

    def resources_have_errors(self) -> bool:
        return any(field.errors for field in self.resources())


def initial_like(run: Run) -> dict[str, Any]:
    """The form's initial values for a run similar to another one, without the name of its model, which is taken."""
    inputs = {name: value for name, value in run.inputs.items() if name != "name"}
    choices = {name: getattr(run, f"{name}_id") for name in ("model", "snapshot", "opinion_set")}
    choices |= {name: getattr(run, name) for name in RESOURCES} | {"reward_source": source_value(run)}
    return inputs | choices | {PREFIX + name: value for name, value in run.config.items()}


def field_of(setting: dataclasses.Field[Any]) -> forms.Field:
    """The form field of a setting, with its label, help, bounds and choices."""
    metadata = setting.metadata
    common: dict[str, Any] = {
        "label": _(metadata["label"]),
        "help_text": _(metadata["help"]),
        "required": False,
        "initial": setting.default,
    }
    if metadata["choices"]:
        return forms.ChoiceField(choices=[(choice, choice) for choice in metadata["choices"]], **common)
    if setting.type == "bool":
        return forms.TypedChoiceField(
            choices=[("yes", _("yes")), ("no", _("no"))],
            coerce=lambda value: value == "yes",
            empty_value=None,
            **common | {"initial": "yes" if setting.default else "no"},
        )
    bounds = {"min_value": metadata["min"], "max_value": metadata["max"]}
    if setting.type == "int":
        return forms.IntegerField(**common, **bounds)
    if setting.type == "float":
        return forms.FloatField(widget=forms.NumberInput(attrs={"step": "any"}), **common, **bounds)
    return forms.CharField(**common)


class AddModelForm(forms.Form):
    name = forms.SlugField(
        max_length=120, label=gettext_lazy("Name"), help_text=gettext_lazy("Letters, digits, - and _.")
    )
    location = forms.CharField(
        max_length=500,
        label=gettext_lazy("Location"),
        help_text=gettext_lazy(
            "The path of a folder on the server (safetensors), or hub:org/name@revision, on the Hugging Face hub."
        ),
    )
    kind = forms.ChoiceField(
        choices=ModelVersion.Kind.choices, label=gettext_lazy("Kind"), initial=ModelVersion.Kind.POLICY
    )
    without_hub = forms.BooleanField(
        required=False, widget=forms.HiddenInput, label=gettext_lazy("Add it without asking the hub")
    )

    def offer_without_hub(self) -> None:
        """Offer to add a hub's model although the hub has refused it to this site: the machines that train may see it."""
        if str(self.data.get("location", "")).startswith("hub:"):
            self.fields["without_hub"].widget = forms.CheckboxInput()
