"""Judgments made ready for the model: what the reward model and DPO have in common before their losses differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.core.data import Ranking
from training.core.encoding import Encoder, Group
from training.core.rankings import Pairs, batch_pairs, count_ties


@dataclass(frozen=True)
class Judged:
    """One ranking with its prompt and k responses encoded. `index` is its place among all rankings of the job."""

    index: int
    ranking: Ranking
    group: Group

    @property
    def k(self) -> int:
        return len(self.group.responses)

    @property
    def ties(self) -> int:
        return count_ties(self.ranking.ranks or [])

    @property
    def has_pair(self) -> bool:
        """Whether any response was preferred to another."""
        return len(set(self.ranking.ranks or [])) > 1


def encode(rankings: Sequence[Ranking], encoder: Encoder) -> list[Judged]:
    """Every ranking with its token ids. Raises BadInput for a response that does not fit."""
    return [
        Judged(
            index,
            ranking,
            encoder.group(ranking.prompt, ranking.responses, ranking.token_ids, line=ranking.line),
        )
        for index, ranking in enumerate(rankings)
    ]


def pairs(judged: Sequence[Judged], margin: str = "none", device: torch.device | str = "cpu") -> Pairs:
    """All pairs of the rankings, as positions among their responses taken in order."""
    ranks = [one.ranking.ranks or [1] * one.k for one in judged]
    return batch_pairs(ranks, [one.ranking.degree for one in judged], margin, device)


def pair_share(part: Sequence[Judged], whole: Sequence[Judged], reduction: str) -> float:
    """The weight of a micro-batch's own mean within its batch's mean: by rankings with a pair, or by pairs."""

    def size(group: Sequence[Judged]) -> int:
        if reduction == "prompt":
            return sum(one.has_pair for one in group)
        return sum(one.k * (one.k - 1) // 2 - one.ties for one in group)

    return size(part) / max(1, size(whole))
