"""AI feedback in a round: the model that judges, and what its opinions count for, which every step that uses them reads."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from annotation.models import OpinionSet
from training.errors import RunError
from training.models import ModelVersion, Round
from training.rounds import run_configs
from training.rounds.settings import settings_of


def judge_model(round: Round, kind: str = "judge") -> ModelVersion | None:
    """The model that judges (`RoundSettings.judge`); None if the settings of these runs name a server.

    Raises:
        RunError: the project has no such policy.
    """
    if run_configs.merged(round.configs, kind, {}).get("server"):
        return None
    first, name = round.loop.first_policy, settings_of(round).judge
    if not name:
        return first.parent or first
    policies = ModelVersion.objects.filter(project=round.loop.project, kind=ModelVersion.Kind.POLICY)
    model = policies.filter(name=name).first()
    if model is None:
        text = _("The AI judge %(name)s is no policy of this project.")
        raise RunError("judge", text % {"name": repr(name)})
    return model


def opinions(round: Round) -> OpinionSet | None:
    """The opinions of the round's judge; None before it judged, or if it does not count."""
    run = round.run_of("judge")
    is_used = (round.report.get("ai") or {}).get("weight")
    return run.output_opinion_set if run is not None and is_used else None


def opinion_arguments(round: Round, ai: str) -> dict[str, Any]:
    """The arguments of a run that learns from judgments `with` the opinions, or from these `only`; nothing if they do not
    count. Its inputs are to be merged."""
    opinion_set = opinions(round) if ai in ("with", "only") else None
    if opinion_set is None:
        return {}
    use = round.report["ai"]
    return {
        "opinion_set": opinion_set,
        "inputs": {"ai": ai, "ai_scale": use["scale"], "ai_weight": use["weight"]},
    }
