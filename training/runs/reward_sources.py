"""What scores the responses of a run that learns from rewards: one reward model, one judge, or one Python function."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.models import Project, Prompt
from training.errors import RunError
from training.models import ModelVersion, Run
from training.registry.actions import current_model

LEARNS_REWARDS = (
    *(Run.Kind.REJECTION, Run.Kind.REST, Run.Kind.HINDSIGHT),
    *(Run.Kind.PPO, Run.Kind.GRPO, Run.Kind.REINFORCE, Run.Kind.ONLINE),
)
"""Kinds whose policy samples responses and learns from their rewards."""
REWARD_SOURCES = ("reward_model", "judge", "reward_function")


def resolve_reward_source(
    project: Project,
    *,
    reward_model: ModelVersion | None,
    judge: ModelVersion | None,
    reward_function: str,
) -> ModelVersion | None:
    """The reward model of a run, by default the current one; None where a judge or a function scores in its place.

    Raises:
        RunError: more than one source is chosen, there is no such reward model, or there are no prompts.
    """
    sources = zip(REWARD_SOURCES, (reward_model, judge, reward_function), strict=True)
    chosen = [name for name, source in sources if source]
    if len(chosen) > 1:
        text = _("Rewards come from a reward model, a judge or a function: choose one of them.")
        raise RunError(chosen[0], text)
    if chosen in (["judge"], ["reward_function"]):
        _check_training_prompts(project)
        return None
    return resolve_reward_model(project, reward_model)


def resolve_reward_model(project: Project, model: ModelVersion | None) -> ModelVersion:
    """The model, or the project's current reward model.

    Raises:
        RunError: there is none, it is of another kind or project, or there are no prompts to score responses to.
    """
    model = model or current_model(project, ModelVersion.Kind.REWARD)
    if model is None:
        raise RunError("reward_model", _("This project has no reward model yet: train one first."))
    if model.project_id != project.pk or model.kind != ModelVersion.Kind.REWARD:
        raise RunError(
            "reward_model", _("%(model)s is not a reward model of this project.") % {"model": model}
        )
    _check_training_prompts(project)
    return model


def _check_training_prompts(project: Project) -> None:
    if not project.prompts.filter(split=Prompt.Split.TRAIN).exists():
        raise RunError("prompts", _("This project has no training prompts to answer: import some."))


def source_choices(project: Project) -> list[tuple[str, Any]]:
    """The sources that a form offers, in groups; each value is `NAME=ID`, with a name of `REWARD_SOURCES`."""
    models = ModelVersion.objects.filter(project=project, retired_at=None)
    reward_models = models.filter(kind=ModelVersion.Kind.REWARD)
    groups = (
        (_("Reward models"), [(f"reward_model={model.pk}", model_label(model)) for model in reward_models]),
        (
            _("Judges, by the constitution"),
            [
                (f"judge={model.pk}", model_label(model))
                for model in models.filter(kind=ModelVersion.Kind.POLICY)
            ],
        ),
        (_("Functions"), [(f"reward_function={name}", name) for name in settings.REWARD_FUNCTIONS]),
    )
    choices: list[tuple[str, Any]] = [(title, choices) for title, choices in groups if choices]
    if reward_models:
        return choices
    return [("", _("Choose a judge or a function") if choices else _("No reward model yet")), *choices]


def model_label(model: ModelVersion) -> str:
    return _("%(model)s (current)") % {"model": model.name} if model.current else model.name


def source_value(run: Run) -> str:
    """The value of `source_choices` with which a run was started."""
    ids = (run.reward_model_id, run.judge_id, run.config.get("reward_function"))
    return next((f"{name}={id}" for name, id in zip(REWARD_SOURCES, ids, strict=True) if id), "")


def source_arguments(project: Project, value: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The models and the settings that a value of `source_choices` stands for, as `start_run` takes them."""
    name, _equals, id = value.partition("=")
    if name == "reward_function":
        return {}, {name: id}
    return ({name: project.model_versions.get(pk=id)} if name else {}), {}
