"""AI feedback in a round: the model that judges, what its opinions count for, which every step that uses them reads, and the
cascade, in which annotators get what the judge is not sure of."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Any

from django.db.models import Avg

from annotation.logic.judge_trust import recalibrated
from annotation.models import OpinionSet
from training.models import ModelVersion, Round, Run
from training.registry.queries import policy_named
from training.rounds import run_configs
from training.rounds.settings import settings_of

CASCADE_PART = "score-judge"


def judge_model(round: Round, kind: str = "judge") -> ModelVersion | None:
    """The model that judges (`RoundSettings.judge`); None if the settings of these runs name a server.

    Raises:
        RunError: the project has no such policy.
    """
    if run_configs.merged(round.configs, kind, {}).get("server"):
        return None
    first, name = round.loop.first_policy, settings_of(round).judge
    return policy_named("judge", round.loop.project, name) if name else first.parent or first


def judge_run(round: Round) -> Run | None:
    """The run in which the judge compared the answers that this round's judgments are about: its own, or that of the cascade at
    the end of the round before. None before it started."""
    return round.run_of("judge") or cascade_run(round)


def cascade_run(round: Round) -> Run | None:
    """The run at the end of the round before in which the judge compared the new answers; None without one, or if another judge
    or other principles are asked for by now."""
    before = round.loop.rounds.filter(number__lt=round.number).first()
    run = before.run_of(CASCADE_PART) if before else None
    if before is None or run is None or run.output_opinion_set is None:
        return None
    is_same_judge = run.model == judge_model(round)
    return run if is_same_judge and run.constitution == round.loop.project.constitutions.first() else None


def unsure_shares(round: Round) -> dict[int, float]:
    """By prompt, the share of the pairs of its new answers on which the round's judge is less sure than the threshold above which
    it agrees with people as they do with each other. Empty where that is not known."""
    run, use = round.run_of(CASCADE_PART), round.report.get("ai") or {}
    if run is None or run.output_opinion_set is None or use.get("threshold") is None:
        return {}
    of_pair = run.output_opinion_set.opinions.values("prompt", "first", "second").annotate(mean=Avg("p"))
    unsure: defaultdict[int, list[bool]] = defaultdict(list)
    for prompt, p in of_pair.values_list("prompt", "mean"):
        unsure[prompt].append(abs(recalibrated(p, use["scale"]) - 0.5) < use["threshold"])
    return {prompt: fmean(pairs) for prompt, pairs in unsure.items()}


def opinions(round: Round) -> OpinionSet | None:
    """The opinions of the round's judge; None before it judged, or if it does not count."""
    run = judge_run(round)
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
