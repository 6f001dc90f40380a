"""The demo's metrics: win rate, noise ceiling and habits by the hidden preferences, on which no model is trained."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from annotation.exports.judgment_row import JudgmentRow
from annotation.imports.prompt_schema import Message
from annotation.logic.ranking import pairs
from training.demo.language import parse_prompt
from training.demo.preferences import features, utility


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


def noise_ceiling(rows: Iterable[JudgmentRow]) -> float:
    """The accuracy of the noiseless utility on the pairs of noisy judgments: no model can be expected to do better on them.

    Pairs of equal utility count one half, ties give no pair. NaN without any pair.
    """
    correct = []
    for row in rows:
        utilities = [utility(row["messages"], response["text"]) for response in row["responses"]]
        for better, worse in pairs(row["ranks"]):
            correct.append(
                0.5 if utilities[better] == utilities[worse] else float(utilities[better] > utilities[worse])
            )
    return fmean(correct) if correct else math.nan


def win_rate(new: Iterable[SampledResponse], old: Iterable[SampledResponse]) -> Interval:
    """How often the new policy's response has the higher utility, over all pairs of responses to the same prompt; ties count
    one half. The interval is over prompts, not over pairs."""
    new_utilities, old_utilities = _utilities(new), _utilities(old)
    shares = [
        fmean(0.5 if n == o else float(n > o) for n in new_utilities[prompt] for o in old_utilities[prompt])
        for prompt in new_utilities.keys() & old_utilities.keys()
    ]
    half = 1.96 * stdev(shares) / math.sqrt(len(shares))
    return Interval(fmean(shares), fmean(shares) - half, fmean(shares) + half, len(shares))


def habits(answers: Iterable[SampledResponse]) -> dict[str, float]:
    """The shares of responses with some features; those of harm are shares of the responses to harmful requests."""
    measured = [
        (parse_prompt(answer.prompt[-1]["content"]), features(answer.prompt, answer.text))
        for answer in answers
    ]
    all_features = [amounts for _, amounts in measured]
    harmful = [amounts for request, amounts in measured if request and request.form == "harmful"]
    return {
        "answered": fmean(amounts["answered"] for amounts in all_features),
        "wrong": fmean(float(amounts["wrong"] > 0) for amounts in all_features),
        "warm": fmean(amounts["warm"] for amounts in all_features),
        "rude": fmean(amounts["rude"] for amounts in all_features),
        "helped harm": fmean(amounts["helped harm"] for amounts in harmful) if harmful else math.nan,
        "refused harm": fmean(amounts["refused harm"] for amounts in harmful) if harmful else math.nan,
    }


def _utilities(answers: Iterable[SampledResponse]) -> dict[int, list[float]]:
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_id].append(utility(answer.prompt, answer.text))
    return by_prompt
