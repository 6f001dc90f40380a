"""Saving a loop: its recipe, its settings and its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotation import audit
from annotation.models import Project, User
from training.configs import from_dict
from training.errors import RunError
from training.models import Loop, ModelVersion
from training.registry import model_sources
from training.registry.actions import current_model
from training.registry.queries import policy_named
from training.rounds import run_configs
from training.rounds.recipes import RECIPES, Improve, Judge, Revise, asks_judge
from training.rounds.settings import settings_from
from training.runs.ai_inputs import used_constitution


def save_loop(
    *,
    project: Project,
    creator: User,
    loop: Loop | None = None,
    name: str = "",
    recipe: str,
    options: Mapping[str, Any],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    safety_project: Project | None = None,
    after_judgments: int | None = None,
    weekdays: list[int] | None = None,
    hour: int = 6,
    active: bool = True,
) -> Loop:
    """Create a loop, or change one: an open round keeps the settings that it started with.

    Args:
        options: `RoundSettings` that differ from the recipe's defaults.
        configs: settings of its runs, by kind of run; `*` for all kinds.

    Raises:
        RunError: the project has no policy, or none that is called as its AI judge; the loop's name is taken; or its runs name a
            server or a reward function that is not allowed.
        ConfigError: a setting is unknown or out of its bounds; a `ConfigsError` for a setting of its runs.
    """
    settings = settings_from(options, recipe)
    run_configs.check(configs or {}, RECIPES[recipe].stages)
    if settings.judge and asks_judge(recipe):
        policy_named("judge", project, settings.judge)
    for config in (configs or {}).values():
        model_sources.check_settings(config)
    if loop is None:
        loop = Loop(project=project, created_by=creator, first_policy=required_policy(project))
    loop.name = name or loop.name or RECIPES[recipe].title
    if Loop.objects.filter(project=project, name=loop.name).exclude(pk=loop.pk).exists():
        raise RunError("name", _("There is a loop called %(name)s already.") % {"name": repr(loop.name)})
    if safety_project == project:
        raise RunError("safety_project", _("The safety project must be another project."))
    loop.recipe, loop.options = recipe, dict(options)
    loop.configs = {kind: dict(config) for kind, config in (configs or {}).items()}
    loop.safety_project, loop.after_judgments = safety_project, after_judgments
    loop.weekdays, loop.hour, loop.active = sorted(set(weekdays or [])), hour, active
    with transaction.atomic():
        loop.save()
        audit.record("loop.changed", project=project, actor=creator, subject=loop.name, recipe=recipe)
    return loop


def required_policy(project: Project) -> ModelVersion:
    """The project's current policy.

    Raises:
        RunError: it has none.
    """
    policy = current_model(project, ModelVersion.Kind.POLICY)
    if policy is None:
        raise RunError("policy", _("This project has no policy yet: add one on the Models page."))
    return policy


def check_principles(loop: Loop) -> None:
    """Check that the project's constitution says what the recipe's runs by principles need.

    Raises:
        RunError: there is none, or no principle has what the mode of such a run needs.
    """
    for stage in RECIPES[loop.recipe].stages:
        scores = isinstance(stage, Improve) and stage.ai == "score"
        if scores or isinstance(stage, Judge | Revise):
            config = from_dict(stage.kind, run_configs.merged(loop.configs, stage.kind, stage.config))
            used_constitution(loop.project, None, config, judge=loop.first_policy if scores else None)
