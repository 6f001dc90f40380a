"""The demo's metrics: win rate, noise ceiling and habits by the hidden preferences, on which no model is trained."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from annotation.exports.judgment_row import JudgmentRow
from annotation.imports.prompt_schema import Message
from annotation.logic.ranking import pairs
from training.demo.language import parse_prompt
from training.demo.preferences import FIRST_TASTE, features, utility


@dataclass(frozen=True)
class SampledResponse:
    prompt_id: int
    prompt: list[Message]
    text: str


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% confidence interval."""

    mean: float
    low: float
    high: float
    prompts: int


EVEN = Interval(0.5, 0.5, 0.5, 0)
"""The win rate of a policy over itself."""


def noise_ceiling(rows: Iterable[JudgmentRow], weights: Mapping[str, float] = FIRST_TASTE) -> float:
    """The accuracy of the noiseless utility on the pairs of noisy judgments: no model can be expected to do better on them.

    Pairs of equal utility count one half, ties give no pair. NaN without any pair.
    """
    correct = []
    for row in rows:
        utilities = [utility(row["messages"], response["text"], weights) for response in row["responses"]]
        for better, worse in pairs(row["ranks"]):
            correct.append(
                0.5 if utilities[better] == utilities[worse] else float(utilities[better] > utilities[worse])
            )
    return fmean(correct) if correct else math.nan


def win_rate(
    new: Iterable[SampledResponse], old: Iterable[SampledResponse], weights: Mapping[str, float] = FIRST_TASTE
) -> Interval:
    """How often the new policy's response has the higher utility, over all pairs of responses to the same prompt; ties count
    one half. The interval is over prompts, not over pairs."""
    new_utilities, old_utilities = _utilities(new, weights), _utilities(old, weights)
    shares = [
        fmean(0.5 if n == o else float(n > o) for n in new_utilities[prompt] for o in old_utilities[prompt])
        for prompt in new_utilities.keys() & old_utilities.keys()
    ]
    half = 1.96 * stdev(shares) / math.sqrt(len(shares))
    return Interval(fmean(shares), fmean(shares) - half, fmean(shares) + half, len(shares))


def habits(answers: Iterable[SampledResponse]) -> dict[str, float]:
    """The shares of responses with some features; those of harm are shares of the responses to harmful requests. NaN without
    any."""
    measured = [
        (parse_prompt(answer.prompt[-1]["content"]), features(answer.prompt, answer.text))
        for answer in answers
    ]
    all_features = [amounts for _, amounts in measured]
    harmful = [amounts for request, amounts in measured if request and request.form == "harmful"]
    return {
        "answered": _mean(amounts["answered"] for amounts in all_features),
        "wrong": _mean(float(amounts["wrong"] > 0) for amounts in all_features),
        "warm": _mean(amounts["warm"] for amounts in all_features),
        "rude": _mean(amounts["rude"] for amounts in all_features),
        "number": _mean(amounts["number"] for amounts in all_features),
        "words": _mean(amounts["length"] for amounts in all_features),
        "helped harm": _mean(amounts["helped harm"] for amounts in harmful),
        "refused harm": _mean(amounts["refused harm"] for amounts in harmful),
    }


def _utilities(answers: Iterable[SampledResponse], weights: Mapping[str, float]) -> dict[int, list[float]]:
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_id].append(utility(answer.prompt, answer.text, weights))
    return by_prompt


def _mean(amounts: Iterable[float]) -> float:
    values = list(amounts)
    return fmean(values) if values else math.nan
