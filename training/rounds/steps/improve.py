"""Improving the policy, by one method after another; which policy it starts from, and which is the KL reference."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from training.models import ModelVersion, Round, Run
from training.rounds import run_configs
from training.rounds.recipes import Demonstrations, Improve
from training.rounds.settings import settings_of
from training.rounds.steps.ai_feedback import judge_model, opinion_arguments
from training.rounds.steps.base import (
    PlannedPart,
    PlannedStep,
    RoundContext,
    RunArguments,
    RunStep,
    new_model_name,
    planned_part,
)
from training.runs.kinds import LEARNS_JUDGMENTS

PATIENCE = 2
"""Evaluations without better weights after which a run ends."""
SMALLEST_KL = 1e-6
"""A gate of 0 nats, for runs, to which 0 is no limit."""
HELD_OUT_PROMPTS = 64
"""Held-out prompts at most that the policy answers at each evaluation."""


def starting_policy(round: Round) -> ModelVersion:
    """The policy that the first method improves (`RoundSettings.start`)."""
    first = round.loop.first_policy
    match settings_of(round).start:
        case "first":
            return first
        case "base":
            return first.parent or first
    return round.policy_before


def last_learned_judgment(round: Round) -> int:
    """The last judgment that the starting policy may have learned from: the last of the round's that made it; 0 if no round did.
    What people judged in rounds that were rejected since is new to it."""
    made = round.loop.rounds.filter(policy_after=starting_policy(round), snapshot__isnull=False)
    return made.values_list("snapshot__last_judgment", flat=True).order_by("number").last() or 0


def reference_policy(round: Round) -> ModelVersion:
    """The policy from which the KL of the new one is measured (`RoundSettings.reference`): the loop's first policy, or the
    one that the round starts from, after fine-tuning on demonstrations if it begins with that."""
    if settings_of(round).reference == "first":
        return round.loop.first_policy
    first = round.run_of("improve-1")
    if first is not None and first.kind == Run.Kind.SFT and first.output is not None:
        return first.output
    return starting_policy(round)


def improvement_runs(round: Round) -> list[Run]:
    """The runs of the round's methods, in their order."""
    names = [step["name"] for step in round.plan if step["name"].startswith("improve-")]
    return [run for name in names if (run := round.run_of(name)) is not None]


def new_policy(round: Round) -> ModelVersion | None:
    """What the last method made."""
    names = [step["name"] for step in round.plan if step["name"].startswith("improve-")]
    return round.output_of(names[-1]) if names else None


def has_held_out(round: Round) -> bool:
    """Whether there are held-out judgments, and so held-out prompts to evaluate a policy on while it is trained."""
    return round.snapshot is not None and bool(round.snapshot.counts.get("pairs_held_out"))


def checkpoint_selection(round: Round, kind: str) -> dict[str, Any]:
    """The arguments with which a run keeps the best of its weights; its own settings in the loop come first."""
    settings = settings_of(round)
    own = run_configs.merged(round.configs, kind, {})
    config: dict[str, Any] = {"patience": 0}
    if settings.evaluations and has_held_out(round):
        config = {"max_kl": max(settings.max_kl, SMALLEST_KL)}
        if kind != Run.Kind.REST:  # ReST evaluates after each of its Improve steps
            # below 1, as 1 is every step
            config |= {"evaluate_every": min(1 / settings.evaluations, 0.99), "patience": PATIENCE}
            if own.get("evaluate_every") == 0:
                config["patience"] = 0
    elif kind != Run.Kind.REST:
        config = {}
    config = {name: value for name, value in config.items() if name not in own}
    if not {**config, **own}.get("patience", int(kind == Run.Kind.REST)):
        return {"config": config}
    return {
        "config": config,
        "reward_model": round.output_of("reward"),
        "second_reward_model": round.output_of("second") if knows_more_than_chance(round) else None,
    }


def knows_more_than_chance(round: Round) -> bool:
    """Whether the second reward model agrees with people significantly more often than by chance."""
    run = round.run_of("measure-second")
    interval = (run.result.get("report") or {}).get("accuracy_interval") if run else None
    return interval is not None and interval[0] > 0.5


class ImprovePolicy(RunStep):
    """In a plan: `improve-1`, `improve-2` and so on, each with one part of the same name."""

    name = "improve"
    title = gettext_noop("Improve the policy")

    def plan(self, context: RoundContext) -> list[PlannedStep]:
        stages = [
            *(context.recipe.stages_of(Demonstrations) if context.has_demonstrations else []),
            *context.recipe.stages_of(Improve),
        ]
        return [
            {
                "name": f"improve-{number}",
                "title": stage.title,
                "does": self.does,
                "parts": [planned_part(f"improve-{number}", stage)],
            }
            for number, stage in enumerate(stages, start=1)
        ]

    def part_label(self, part: PlannedPart) -> str:
        return _("Policy")

    def run_arguments(self, round: Round, part: str) -> RunArguments:
        steps = [step for step in round.plan if step["name"].startswith("improve-")]
        number = int(part.removeprefix("improve-"))
        planned = steps[number - 1]["parts"][0]
        kind, ai = planned["kind"], planned.get("ai", "")
        reward_function = run_configs.merged(round.configs, kind, planned["config"]).get("reward_function")
        previous = round.output_of(f"improve-{number - 1}") if number > 1 else None
        is_last = number == len(steps)
        inputs: dict[str, Any] = {"name": new_model_name(round, "policy" if is_last else kind)}
        arguments: dict[str, Any] = {"inputs": inputs}
        settings = settings_of(round)
        if ai == "revisions":
            revise = round.run_of("revise")
            assert revise is not None
            inputs["revisions"] = revise.pk
        elif kind == Run.Kind.SFT:
            inputs |= {"demonstrations": True, "imported": "include" if settings.imported else "exclude"}
        elif kind in LEARNS_JUDGMENTS:
            arguments["snapshot"] = round.snapshot
            if settings.learn_from == "new":
                inputs |= {"after": last_learned_judgment(round), "safety_tag": settings.safety_tag}
            learned = opinion_arguments(round, ai)
            inputs |= learned.pop("inputs", {})
            arguments |= learned
        else:
            inputs |= {
                "prompts": settings.learn_prompts,
                "held_out": min(settings.evaluation_prompts, HELD_OUT_PROMPTS),
                "safety_tag": settings.safety_tag,
            }
            if ai == "score":
                arguments["judge"] = judge_model(round)
            elif not reward_function:
                arguments["reward_model"] = round.output_of("reward")
                arguments["safety_reward_model"] = round.output_of("safety")
        if kind not in (Run.Kind.SFT, Run.Kind.REJECTION):
            if settings.reference == "first":
                arguments["reference"] = round.loop.first_policy
            arguments |= checkpoint_selection(round, kind)
            if ai == "score" or reward_function:  # which is the reward on held-out prompts, too
                arguments.pop("reward_model", None)
        return RunArguments(round.loop.project, previous or starting_policy(round), **arguments)
