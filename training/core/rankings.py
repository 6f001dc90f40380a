"""From rankings to pairs: k-choose-2 as index tensors, so that k rewards serve all of a ranking's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from training.configs import MARGINS


class Pairs(NamedTuple):
    """All comparisons of a batch of G rankings whose responses are in one flat tensor.

    chosen, rejected: (N,) positions in that tensor.
    ranking: (N,) which ranking, 0..G-1, a pair came from.
    margin: (N,) float32, in logits.
    probability: (N,) float32, the fraction of people who prefer `chosen`: 1 without a soft label, never under 0.5.
    """

    chosen: Tensor
    rejected: Tensor
    ranking: Tensor
    margin: Tensor
    probability: Tensor

    @property
    def decided(self) -> Tensor:
        """(N,) bool: pairs that count in an accuracy. A soft label of one half is a tie; its loss pulls the two rewards
        together."""
        return self.probability > 0.5

    def weights(self, reduction: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N,) weights that sum to 1 and turn per-pair losses into the batch's loss.

        `prompt`: the mean over rankings of each ranking's mean over its own pairs (InstructGPT, equation 1, where the
        divisor is k choose 2; with ties it is the number of pairs that exist, and a ranking without any is left out).
        `pair`: the mean over all pairs, which is what training on expanded pairs computes.
        """
        count = len(self.ranking)
        if count == 0:
            return torch.zeros(0, dtype=dtype, device=self.ranking.device)
        if reduction == "pair":
            return torch.full((count,), 1 / count, dtype=dtype, device=self.ranking.device)
        sizes = torch.bincount(self.ranking)
        return 1 / (sizes[self.ranking] * (sizes > 0).sum()).to(dtype)


def pairs_of(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Every (better, worse) pair of positions in one ranking. Rank 1 is best; equal ranks give no pair."""
    return [
        (i, j) if ranks[i] < ranks[j] else (j, i)
        for i, j in combinations(range(len(ranks)), 2)
        if ranks[i] != ranks[j]
    ]


def comparisons(ranks: Sequence[int], probability: float | None) -> list[tuple[int, int, float]]:
    """Every (better, worse, fraction of people who prefer `better`) that the loss learns from.

    probability: of a choice between two, the fraction of people who prefer the first. At one half it is still a comparison,
    unlike a tie between ranks: the two rewards are to be equal.
    """
    if probability is None:
        return [(better, worse, 1.0) for better, worse in pairs_of(ranks)]
    return [(0, 1, probability) if probability >= 0.5 else (1, 0, 1 - probability)]


def count_ties(ranks: Sequence[int]) -> int:
    """The number of tied pairs."""
    return sum(a == b for a, b in combinations(ranks, 2))


def batch_pairs(
    rankings: Sequence[Sequence[int]],
    degrees: Sequence[str | None] | None = None,
    margin: str = "none",
    device: torch.device | str = "cpu",
    *,
    probabilities: Sequence[float | None] | None = None,
    places: Sequence[Sequence[int]] | None = None,
) -> Pairs:
    """The pairs of G rankings.

    degrees, probabilities: each ranking's degree or soft label, or None. margin: the name of a table of MARGINS; a soft
    label of one half has no margin, as neither side is preferred.
    places: the positions of each ranking's responses in the flat tensor; by default one ranking after another.
    """
    table = MARGINS[margin]
    chosen, rejected, owner, margins, fractions = [], [], [], [], []
    start = 0
    for index, ranks in enumerate(rankings):
        degree = degrees[index] if degrees is not None else None
        at = places[index] if places is not None else range(start, start + len(ranks))
        for better, worse, fraction in comparisons(ranks, probabilities[index] if probabilities else None):
            chosen.append(at[better])
            rejected.append(at[worse])
            owner.append(index)
            margins.append(0.0 if degree is None or fraction == 0.5 else table[degree])
            fractions.append(fraction)
        start += len(ranks)
    return Pairs(
        chosen=torch.tensor(chosen, dtype=torch.long, device=device),
        rejected=torch.tensor(rejected, dtype=torch.long, device=device),
        ranking=torch.tensor(owner, dtype=torch.long, device=device),
        margin=torch.tensor(margins, dtype=torch.float32, device=device),
        probability=torch.tensor(fractions, dtype=torch.float32, device=device),
    )
