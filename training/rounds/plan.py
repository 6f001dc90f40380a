"""The plan of a loop's next round: its steps with their runs and learning rates, its frozen settings, and what it is estimated to
take."""

from __future__ import annotations

from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import analytics
from annotation.queries import progress
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import current_model
from training.rounds import run_configs
from training.rounds.loops import required_policy
from training.rounds.recipes import RECIPES
from training.rounds.settings import settings_from
from training.rounds.steps import STEPS
from training.rounds.steps.base import PlannedStep, RoundContext
from training.rounds.steps.improve import starting_policy
from training.rounds.steps.reward_models import reward_start
from training.rounds.time_estimates import estimate_plan
from training.runs.learning_rates import describe_default, format_rate
from training.runs.queries import demonstrations


def draft_round(loop: Loop) -> Round:
    """The round that would start now, not saved.

    Raises:
        RunError: the project has no policy.
    """
    policy = required_policy(loop.project)
    context = round_context(loop)
    plan = plan_steps(context)
    latest = loop.rounds.first()
    return Round(
        loop=loop,
        number=latest.number + 1 if latest else 1,
        plan=plan,
        step=plan[0]["name"],
        step_since=timezone.now(),
        recipe=loop.recipe,
        options=context.settings.to_dict(),
        configs=loop.configs,
        estimate=estimate_plan(loop.project, plan),
        policy_before=policy,
    )


def plan_steps(context: RoundContext) -> list[PlannedStep]:
    return [planned for step in STEPS.values() for planned in step.plan(context)]


def round_context(loop: Loop) -> RoundContext:
    settings = settings_from(loop.options, loop.recipe)
    pending = sum(progress(project).left for project in loop.projects)
    new = sum(
        analytics.new_judgment_count(project, project.snapshots.first(), at_most=settings.judgments)
        for project in loop.projects
    )
    return RoundContext(
        recipe=RECIPES[loop.recipe],
        settings=settings,
        needs_answers=pending + new < settings.judgments,
        has_demonstrations=next(demonstrations(loop.project, imported=settings.imported), None) is not None,
        has_safety_project=loop.safety_project is not None,
        has_reward_model=current_model(loop.project, ModelVersion.Kind.REWARD) is not None,
        has_safety_model=loop.safety_project is not None
        and current_model(loop.safety_project, ModelVersion.Kind.REWARD) is not None,
    )


def describe_learning_rates(round: Round) -> list[tuple[str, str]]:
    """For each step that trains its title, in English, and the learning rate of its runs with the reason."""
    lines: dict[tuple[str, str], None] = {}
    for step in round.plan:
        for part in step["parts"]:
            kind = part["kind"]
            rate = run_configs.merged(round.configs, kind, part["config"]).get("learning_rate")
            model = reward_start(round) if kind == Run.Kind.REWARD else starting_policy(round)
            if rate is not None:
                text = _("%(rate)s, by the settings of the loop's runs.") % {"rate": format_rate(rate)}
            else:
                text = describe_default(kind, model)
            if text:
                lines[step["title"], text] = None
    return list(lines)
