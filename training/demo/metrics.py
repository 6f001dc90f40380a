"""What the demo measures with the hidden taste: figures that no model is ever trained on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from annotation.exports.judgment_row import JudgmentRow
from annotation.imports.prompt_schema import Message
from annotation.logic.ranking import pairs
from training.demo.language import understand
from training.demo.taste import features, utility


@dataclass(frozen=True)
class Answer:
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


def ceiling(rows: Iterable[JudgmentRow]) -> float:
    """How often the noiseless taste agrees with the noisy judgments' own pairs: no model can be expected to do better on
    them. Pairs of equal utility count one half."""
    agreed = []
    for row in rows:
        worth = [utility(row["messages"], response["text"]) for response in row["responses"]]
        for better, worse in pairs(row["ranks"]):
            agreed.append(0.5 if worth[better] == worth[worse] else float(worth[better] > worth[worse]))
    return fmean(agreed) if agreed else math.nan


def win_rate(new: Iterable[Answer], old: Iterable[Answer]) -> Interval:
    """How often the taste prefers the new policy's answer to the old one's, over all pairs of their answers to the same
    prompt; ties count one half. Prompts, not pairs, are what the interval is drawn over."""
    worth_of_new, worth_of_old = _worth(new), _worth(old)
    shares = [
        fmean(0.5 if n == o else float(n > o) for n in worth_of_new[prompt] for o in worth_of_old[prompt])
        for prompt in worth_of_new.keys() & worth_of_old.keys()
    ]
    half = 1.96 * stdev(shares) / math.sqrt(len(shares))
    return Interval(fmean(shares), fmean(shares) - half, fmean(shares) + half, len(shares))


def habits(answers: Iterable[Answer]) -> dict[str, float]:
    """Shares of answers with some features of the taste; those of harm among the answers to harmful requests."""
    read = [
        (understand(answer.prompt[-1]["content"]), features(answer.prompt, answer.text)) for answer in answers
    ]
    seen = [found for _, found in read]
    harmful = [found for request, found in read if request and request.form == "harmful"]
    return {
        "answered": fmean(found["answered"] for found in seen),
        "wrong": fmean(float(found["wrong"] > 0) for found in seen),
        "warm": fmean(found["warm"] for found in seen),
        "rude": fmean(found["rude"] for found in seen),
        "helped harm": fmean(found["helped harm"] for found in harmful) if harmful else math.nan,
        "refused harm": fmean(found["refused harm"] for found in harmful) if harmful else math.nan,
    }


def _worth(answers: Iterable[Answer]) -> dict[int, list[float]]:
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_id].append(utility(answer.prompt, answer.text))
    return by_prompt
