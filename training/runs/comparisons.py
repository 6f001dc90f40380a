"""The answers of two policies to the same prompts, compared by a reward model's scores, and stored prompt by prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from annotation.logic.agreement import wilson
from annotation.logic.splits import digest
from annotation.models import Prompt, Response
from training.models import ComparedPrompt, Comparison, Run

JsonObject = dict[str, Any]
BATCH = 1000
FEW = 30
"""Prompts below which their deviation says too little of how far their mean may be off."""


@dataclass(frozen=True)
class Match:
    """One prompt, with a reward model's scores of the new policy's answers and of the old one's."""

    prompt_id: int
    new: list[float]
    old: list[float]

    @property
    def win_rate(self) -> float:
        """Share of the pairs of a new and an old answer in which the new one scores higher; a tie counts one half."""
        return fmean(0.5 if n == o else float(n > o) for n in self.new for o in self.old)

    @property
    def gain(self) -> float:
        return fmean(self.new) - fmean(self.old)


def match_prompts(answers: Mapping[int, list[list[str]]], scores: Mapping[int, list[float]]) -> list[Match]:
    """answers: the new policy's and the old one's by prompt; scores: of these, in that order. Prompts that only one policy
    answered are left out."""
    matches = []
    for prompt_id, (new, old) in answers.items():
        rewards = scores.get(prompt_id)
        if rewards and new and old:
            matches.append(Match(prompt_id, rewards[: len(new)], rewards[len(new) :]))
    return matches


def mean_win_rate(rates: Sequence[float]) -> JsonObject:
    """The mean of the prompts' win rates with its 95% interval. Of fewer than `FEW` prompts, and where all are alike, it is
    Wilson's, which has a width even if all of them agree."""
    count, mean = len(rates), fmean(rates) if rates else 0.5
    if count < FEW or len(set(rates)) == 1:
        low, high = wilson(sum(rates), count)
    else:
        half = 1.96 * stdev(rates) / math.sqrt(count)
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return {"mean": mean, "low": low, "high": high, "prompts": count}


def store_comparison(
    run: Run, answers: Mapping[int, list[list[str]]], scores: Mapping[int, list[float]]
) -> Comparison | None:
    """Store what an evaluation says of the answers of two runs of different policies, which its input `answers` names, the
    new policy's first. None, and nothing is stored, where no prompt was answered by both, or a server answered."""
    runs = Run.objects.select_related("model").in_bulk(run.inputs["answers"])
    new, old = (runs[pk].model for pk in run.inputs["answers"])
    matches = match_prompts(answers, scores)
    if run.model is None or new is None or old is None or new == old or not matches:
        return None
    prompts = [match.prompt_id for match in matches]
    held_out = Prompt.objects.filter(pk__in=prompts, split=Prompt.Split.HELD_OUT).count()
    win_rate = mean_win_rate([match.win_rate for match in matches]) | {"held_out": held_out}
    comparison = Comparison.objects.create(
        run=run, scorer=run.model, policy=new, baseline=old, win_rate=win_rate
    )
    stored = Response.objects.filter(author__in=[new.author_id, old.author_id], prompt__in=prompts)
    responses: dict[tuple[int, int, str], int] = {
        (prompt, author, sha): pk
        for prompt, author, sha, pk in stored.values_list("prompt_id", "author_id", "digest", "pk")
    }
    ComparedPrompt.objects.bulk_create(
        (
            ComparedPrompt(
                comparison=comparison,
                prompt_id=match.prompt_id,
                gain=match.gain,
                win_rate=match.win_rate,
                policy_length=fmean(map(len, answers[match.prompt_id][0])),
                baseline_length=fmean(map(len, answers[match.prompt_id][1])),
                scores={
                    str(response): round(reward, 4)
                    for author, texts, rewards in zip(
                        (new.author_id, old.author_id),
                        answers[match.prompt_id],
                        (match.new, match.old),
                        strict=True,
                    )
                    for text, reward in zip(texts, rewards, strict=True)
                    if author and (response := responses.get((match.prompt_id, author, digest(text))))
                },
            )
            for match in matches
        ),
        batch_size=BATCH,
    )
    return comparison
