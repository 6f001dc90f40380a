"""The new policy compared with the old one: win rates by reward models and by annotators, lengths, regressions, and how the
reward grew with the KL; how the reward models compare; and the judgments with which the reward models disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.models import Judgment, Prompt
from training.models import Round, Run
from training.rounds.accuracy_loss import AccuracyLoss
from training.rounds.gates import SAFETY_JUDGES, judge_label
from training.runs.comparisons import Match, match_prompts, mean_win_rate
from training.runs.outputs import read_agreement

JsonObject = dict[str, Any]
MAX_REGRESSIONS = 12
LENGTHS = (
    (0, 100, gettext_noop("up to 100 characters")),
    (100, 300, gettext_noop("100 to 300")),
    (300, 10**9, gettext_noop("more than 300")),
)


def compare_policies(
    answers: Mapping[int, list[list[str]]],
    scorers: Mapping[str, Mapping[int, list[float]]],
    *,
    safety_tag: str,
) -> JsonObject:
    """The report on a new policy (`Round.report`).

    Args:
        answers: the new policy's answers and the old one's, by prompt.
        scorers: by name of `REWARD_MODELS`, the scores of these answers. The policy was trained with the first one, which
            decides tags, lengths and regressions. The one called `safety` counts on prompts with the safety tag
            only, as it was trained on such prompts; without it the second one, or the first if there is no second, is
            asked about these apart (`tagged`), since a gain on all prompts may hide a policy that became less safe.
    """
    prompts = Prompt.objects.in_bulk(list(answers))
    first = match_prompts(answers, next(iter(scorers.values())))
    judges: list[JsonObject] = [{"name": name, "reward_model": name} for name in scorers]
    if "safety" not in scorers:
        judges.append(
            {
                "name": "tagged",
                "reward_model": "second" if "second" in scorers else next(iter(scorers)),
                "tag": safety_tag,
            }
        )
    wins = []
    for place, judge in enumerate(judges):
        matches = match_prompts(answers, scorers[judge["reward_model"]])
        if judge["name"] in SAFETY_JUDGES:
            matches = [match for match in matches if safety_tag in prompts[match.prompt_id].tags]
            if not matches:
                continue
        rate = mean_win_rate([match.win_rate for match in matches])
        wins.append(judge | {"by": judge_label(judge), "must": "keep" if place else "win"} | rate)
    new_length = [len(text) for new, old in answers.values() if new and old for text in new]
    old_length = [len(text) for new, old in answers.values() if new and old for text in old]
    return {
        "wins": wins,
        "by_tag": _by_tag(first, prompts),
        "by_length": _by_length(first, answers),
        "regressions": _regressions(first, answers, prompts),
        "length": {"new": _mean(new_length), "old": _mean(old_length)},
        "length_ratio": fmean(new_length) / fmean(old_length) if new_length and old_length else None,
        "overoptimised": overoptimisation_warning(wins),
        "same_answers": bool(answers) and all(new == old for new, old in answers.values()),
    }


def overoptimisation_warning(wins: Sequence[Mapping[str, Any]]) -> str:
    """A sentence if the reward model that the policy was trained with prefers it and another does not; else empty."""
    first, *others = wins
    for other in others:
        if other["name"] in SAFETY_JUDGES:
            continue
        if first["low"] > 0.5 and other["low"] <= 0.5 and first["mean"] - other["mean"] > 0.1:
            text = _(
                "The win rate by %(judge)s is %(share)s, by %(other_judge)s only %(other_share)s: the policy may have overfitted"
                " to the reward model that it was trained with. Train fewer steps, or with a larger KL penalty."
            )
            shares = {"share": f"{100 * first['mean']:.0f}%", "other_share": f"{100 * other['mean']:.0f}%"}
            return text % {**shares, "judge": judge_label(first), "other_judge": judge_label(other)}
    return ""


def _by_tag(matches: Sequence[Match], prompts: Mapping[int, Prompt]) -> list[JsonObject]:
    rates: dict[str, list[float]] = defaultdict(list)
    for match in matches:
        for tag in prompts[match.prompt_id].tags:
            rates[tag].append(match.win_rate)
    return [{"label": tag} | mean_win_rate(rates[tag]) for tag in sorted(rates)]


def _by_length(matches: Sequence[Match], answers: Mapping[int, list[list[str]]]) -> list[JsonObject]:
    """By the length of the old policy's answers."""
    rates: dict[str, list[float]] = defaultdict(list)
    for match in matches:
        length = fmean(len(text) for text in answers[match.prompt_id][1])
        label = next(label for low, high, label in LENGTHS if low <= length < high)
        rates[label].append(match.win_rate)
    return [{"label": label} | mean_win_rate(rates[label]) for *_range, label in LENGTHS if label in rates]


def _regressions(
    matches: Sequence[Match], answers: Mapping[int, list[list[str]]], prompts: Mapping[int, Prompt]
) -> list[JsonObject]:
    """The prompts with the largest loss of reward, each with the new policy's worst answer and the old one's best."""
    worst = sorted(matches, key=lambda match: match.gain)[:MAX_REGRESSIONS]
    return [
        {
            "prompt": prompts[match.prompt_id].messages[-1]["content"],
            "old": answers[match.prompt_id][1][match.old.index(max(match.old))],
            "new": answers[match.prompt_id][0][match.new.index(min(match.new))],
            "gain": round(match.gain, 3),
        }
        for match in worst
    ]


def reward_by_kl(runs: Iterable[Run]) -> list[JsonObject]:
    """The reward over the KL of each run that measured both: `[{run, name, points: [[kl, reward], …], kept}]`. kept: the index
    of the point whose weights were kept."""
    curves = []
    for run in runs:
        points, steps = [], []
        for step, values in run.metrics.values_list("step", "values"):
            reward = values.get("held_out_reward", values.get("reward"))
            kl = values.get("held_out_kl", values.get("kl"))
            if kl is not None and reward is not None:
                points.append([max(0.0, kl), reward])
                steps.append(step)
        if points:
            best = (run.result.get("metrics") or {}).get("best_step")
            kept = steps.index(best) if best in steps else len(steps) - 1
            curves.append({"run": run.pk, "name": str(run), "points": points, "kept": kept})
    return curves


def human_win_rate(round: Round) -> JsonObject | None:
    """How often annotators preferred the new policy's answer in the round's human comparison; None without any."""
    items = round.report.get("people_items") or []
    new = round.policy_after.author_id if round.policy_after else None
    by_item: dict[int, list[float]] = defaultdict(list)
    judgments = Judgment.objects.current().without_excluded().filter(item__in=items, slot__isnull=False)
    for judgment in judgments.prefetch_related("placements__response"):
        rank = {placed.response.author_id == new: placed.rank for placed in judgment.placements.all()}
        by_item[judgment.item_id].append(
            0.5 if rank[True] == rank[False] else float(rank[True] < rank[False])
        )
    if not by_item:
        return None
    rate = mean_win_rate([fmean(rates) for rates in by_item.values()])
    people: JsonObject = {"name": "people", "must": "keep"}
    return people | {"by": judge_label(people)} | rate


def accuracy_loss(new: Run | None, old: Run | None) -> AccuracyLoss | None:
    """Of a new reward model against the old one, by their evaluations; None without an old one, or without a
    judgment that both were evaluated on."""
    if new is None or old is None:
        return None
    of_new, of_old = read_agreement(new), read_agreement(old)
    prompts = Judgment.objects.filter(pk__in=of_new).values_list("pk", "item__prompt_id")
    return AccuracyLoss.measure(of_new, of_old, dict(prompts))


def disputed_judgments(
    ranks: Mapping[int, list[int]], scorers: Sequence[Mapping[int, list[float]]], *, min_gap: float = 1.5
) -> list[int]:
    """Judgments with which every one of several reward models disagrees: another answer scores higher than the one ranked
    first, by `min_gap` logits or more. Largest gap first."""
    if len(scorers) < 2:
        return []
    disputed = []
    for judgment, judgment_ranks in ranks.items():
        gaps = [_reward_gap(judgment_ranks, scores[judgment]) for scores in scorers if judgment in scores]
        if len(gaps) == len(scorers) and min(gaps) >= min_gap:
            disputed.append((min(gaps), judgment))
    return [judgment for _gap, judgment in sorted(disputed, reverse=True)]


def _reward_gap(ranks: Sequence[int], rewards: Sequence[float]) -> float:
    """The highest reward of an answer not ranked first, less the highest of those ranked first."""
    best = [reward for rank, reward in zip(ranks, rewards, strict=True) if rank == min(ranks)]
    others = [reward for rank, reward in zip(ranks, rewards, strict=True) if rank != min(ranks)]
    return max(others) - max(best) if others else 0.0


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
