"""What a new policy is worth beside the old one: read from what the runs of a round wrote, and from what people chose."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from django.core.cache import cache
from django.db import connection

from annotation.logic.consensus import bradley_terry
from annotation.models import Author, Judgment, Project, Prompt
from training.models import Round, Run

JsonObject = dict[str, Any]
REGRESSIONS = 12
LENGTHS = ((0, 100, "up to 100 characters"), (100, 300, "100 to 300"), (300, 10**9, "more than 300"))
RESAMPLES = 100


# --- new beside old -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """One prompt with the rewards of the new policy's answers and of the old one's."""

    prompt_id: int
    new: list[float]
    old: list[float]

    @property
    def share(self) -> float:
        """Over all pairs of a new and an old answer, how often the new one scores higher; ties count one half."""
        return fmean(0.5 if n == o else float(n > o) for n in self.new for o in self.old)

    @property
    def gain(self) -> float:
        return fmean(self.new) - fmean(self.old)


def matches(answers: Mapping[int, list[list[str]]], scores: Mapping[int, list[float]]) -> list[Match]:
    """answers: the new policy's and the old one's by prompt. Prompts that only one of them answered are left out."""
    found = []
    for prompt_id, (new, old) in answers.items():
        rewards = scores.get(prompt_id)
        if rewards and new and old:
            found.append(Match(prompt_id, rewards[: len(new)], rewards[len(new) :]))
    return found


def win_rate(shares: Sequence[float]) -> JsonObject:
    """The mean of prompts' shares with its 95% interval; from 0 to 1 where there are too few to have one."""
    if len(shares) < 2:
        return {"mean": fmean(shares) if shares else 0.5, "low": 0.0, "high": 1.0, "prompts": len(shares)}
    mean = fmean(shares)
    half = 1.96 * stdev(shares) / math.sqrt(len(shares))
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half), "prompts": len(shares)}


def compared(
    answers: Mapping[int, list[list[str]]],
    scorers: Mapping[str, tuple[str, Mapping[int, list[float]]]],
    *,
    safety_tag: str,
) -> JsonObject:
    """The report on a new policy.

    Args:
        answers: the new policy's answers and the old one's, by prompt.
        scorers: by name, what a reward model is called and its rewards of these answers, the new policy's first. The
            first one taught the policy; it decides tags, lengths and regressions. The one called `safety` compares on the
            prompts with this tag, the like of which it learned from.
    """
    prompts = Prompt.objects.in_bulk(list(answers))
    wins = []
    for place, (name, (by, scores)) in enumerate(scorers.items()):
        seen = matches(answers, scores)
        if name == "safety":
            seen = [match for match in seen if safety_tag in prompts[match.prompt_id].tags]
            if not seen:
                continue
        rate = win_rate([match.share for match in seen])
        wins.append({"name": name, "by": by, "above": 0.5, "must": "keep" if place else "win"} | rate)
    taught = matches(answers, next(iter(scorers.values()))[1])
    new_length = [len(text) for new, old in answers.values() if new and old for text in new]
    old_length = [len(text) for new, old in answers.values() if new and old for text in old]
    return {
        "wins": wins,
        "by_tag": _by_tag(taught, prompts),
        "by_length": _by_length(taught, answers),
        "regressions": _regressions(taught, answers, prompts),
        "length": {"new": _mean(new_length), "old": _mean(old_length)},
        "length_ratio": fmean(new_length) / fmean(old_length) if new_length and old_length else None,
        "overoptimised": overoptimised(wins),
    }


def overoptimised(wins: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where the reward model that taught the policy likes it and another one, which did not teach it, does not;
    else nothing."""
    first, *others = wins
    for other in others:
        if other["name"] == "safety":
            continue
        if first["low"] > 0.5 and other["low"] <= 0.5 and first["mean"] - other["mean"] > 0.1:
            return (
                f"By {first['by']} it wins {100 * first['mean']:.0f}%, by {other['by']} only {100 * other['mean']:.0f}%: it "
                "may have learned to please the one that taught it. Train less, or hold it closer to its reference."
            )
    return ""


def _by_tag(found: Sequence[Match], prompts: Mapping[int, Prompt]) -> list[JsonObject]:
    shares: dict[str, list[float]] = defaultdict(list)
    for match in found:
        for tag in prompts[match.prompt_id].tags:
            shares[tag].append(match.share)
    return [{"label": tag} | win_rate(shares[tag]) for tag in sorted(shares)]


def _by_length(found: Sequence[Match], answers: Mapping[int, list[list[str]]]) -> list[JsonObject]:
    """By how long the old policy's answers were."""
    shares: dict[str, list[float]] = defaultdict(list)
    for match in found:
        length = fmean(len(text) for text in answers[match.prompt_id][1])
        label = next(label for low, high, label in LENGTHS if low <= length < high)
        shares[label].append(match.share)
    return [{"label": label} | win_rate(shares[label]) for _, _, label in LENGTHS if label in shares]


def _regressions(
    found: Sequence[Match], answers: Mapping[int, list[list[str]]], prompts: Mapping[int, Prompt]
) -> list[JsonObject]:
    """The prompts on which the new policy lost most, each with the new policy's worst answer and the old one's best."""
    worst = sorted(found, key=lambda match: match.gain)[:REGRESSIONS]
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
    """Of each run that follows a gradient, how the reward grew with the divergence: `[{run, points: [[kl, reward], …]}]`."""
    found = []
    for run in runs:
        points = []
        for values in run.metrics.values_list("values", flat=True):
            reward = values.get("held_out_reward", values.get("reward"))
            if values.get("kl") is not None and reward is not None:
                points.append([max(0.0, values["kl"]), reward])
        if points:
            found.append({"run": run.pk, "name": str(run), "points": points})
    return found


def odd_judgments(
    ranks: Mapping[int, list[int]], scorers: Sequence[Mapping[int, list[float]]], *, far: float = 1.5
) -> list[int]:
    """Judgments that every one of the reward models finds odd: the answer put first scores lower than another by `far`
    logits or more, the oddest first."""
    if len(scorers) < 2:
        return []
    odd = []
    for judgment, placed in ranks.items():
        gaps = [_oddity(placed, scores[judgment]) for scores in scorers if judgment in scores]
        if len(gaps) == len(scorers) and min(gaps) >= far:
            odd.append((min(gaps), judgment))
    return [judgment for _, judgment in sorted(odd, reverse=True)]


def _oddity(ranks: Sequence[int], rewards: Sequence[float]) -> float:
    best = [reward for rank, reward in zip(ranks, rewards, strict=True) if rank == min(ranks)]
    others = [reward for rank, reward in zip(ranks, rewards, strict=True) if rank != min(ranks)]
    return max(others) - max(best) if others else 0.0


# --- what people chose ----------------------------------------------------------------------------------------

CHOSEN = """
SELECT better.judgment_id, preferred.author_id, other.author_id
FROM annotation_placement AS better
JOIN annotation_placement AS worse ON worse.judgment_id = better.judgment_id AND better.rank < worse.rank
JOIN annotation_response AS preferred ON preferred.id = better.response_id
JOIN annotation_response AS other ON other.id = worse.response_id AND other.author_id <> preferred.author_id
JOIN annotation_judgment AS judgment ON judgment.id = better.judgment_id
JOIN annotation_item AS item ON item.id = judgment.item_id
WHERE item.project_id = %(project)s AND judgment.slot_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM annotation_judgment AS later WHERE later.supersedes_id = judgment.id)
ORDER BY better.judgment_id
"""


@dataclass(frozen=True)
class Standing:
    """One policy's place: Elo-like points (400 a factor of ten, 1000 the mean) with a 95% interval, over how many of its
    comparisons with other policies."""

    author: Author
    points: float
    low: float
    high: float
    comparisons: int


def leaderboard(project: Project) -> list[Standing]:
    """Everybody whose answers people preferred, or not, to another's: best first. Intervals are drawn over judgments."""
    newest = (
        Judgment.objects.filter(item__project=project).order_by("-pk").values_list("pk", flat=True).first()
    )
    key = f"leaderboard-{project.pk}-{project.created_at.timestamp()}-{newest}"
    rows: list[tuple[int, float, float, float, int]] | None = cache.get(key)
    if rows is None:
        rows = _standings(project)
        cache.set(key, rows, timeout=3600)
    authors = Author.objects.in_bulk([row[0] for row in rows])
    return [Standing(authors[author], points, low, high, n) for author, points, low, high, n in rows]


def _standings(project: Project) -> list[tuple[int, float, float, float, int]]:
    with connection.cursor() as cursor:
        cursor.execute(CHOSEN, {"project": project.pk})
        chosen: list[tuple[int, int, int]] = cursor.fetchall()
    places = {author: n for n, author in enumerate(sorted({a for _, *both in chosen for a in both}))}
    if len(places) < 2:
        return []
    by_judgment: dict[int, list[tuple[int, int]]] = defaultdict(list)
    counts: dict[int, int] = defaultdict(int)
    for judgment, better, worse in chosen:
        by_judgment[judgment].append((places[better], places[worse]))
        counts[better] += 1
        counts[worse] += 1
    judged = list(by_judgment.values())
    points = _points(judged, len(places))
    rng = random.Random(0)  # noqa: S311 - a draw to be repeated, not a secret
    drawn = [_points(rng.choices(judged, k=len(judged)), len(places)) for _ in range(RESAMPLES)]
    found = []
    for author, place in places.items():
        spread = sorted(one[place] for one in drawn)
        low, high = spread[int(0.025 * RESAMPLES)], spread[int(0.975 * RESAMPLES) - 1]
        found.append((author, points[place], low, high, counts[author]))
    return sorted(found, key=lambda row: -row[1])


def _points(judged: Iterable[Sequence[tuple[int, int]]], count: int) -> list[float]:
    wins = [[0.0] * count for _ in range(count)]
    for pairs in judged:
        for better, worse in pairs:
            wins[better][worse] += 1
    return [1000 + 400 * strength / math.log(10) for strength in bradley_terry(wins, rounds=100)]


def people_s_choice(round: Round) -> JsonObject | None:
    """How often people preferred the new policy's answer, blind, in the round's own comparisons; None without any."""
    items = round.report.get("people_items") or []
    new = round.policy_after.author_id if round.policy_after else None
    by_item: dict[int, list[float]] = defaultdict(list)
    said = Judgment.objects.current().filter(item__in=items, slot__isnull=False)
    for judgment in said.prefetch_related("placements__response"):
        rank = {placed.response.author_id == new: placed.rank for placed in judgment.placements.all()}
        by_item[judgment.item_id].append(
            0.5 if rank[True] == rank[False] else float(rank[True] < rank[False])
        )
    if not by_item:
        return None
    rate = win_rate([fmean(shares) for shares in by_item.values()])
    return {"name": "people", "by": "people, blind", "above": 0.5, "must": "keep"} | rate


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
