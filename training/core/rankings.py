"""From rankings to pairs: k-choose-2 as index tensors, so that k rewards serve all of a ranking's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from training.configs import MARGINS
from training.core.data import SoftPair


class Pairs(NamedTuple):
    """All comparisons of a batch of G rankings whose responses are in one flat tensor.

    chosen, rejected: (N,) positions in that tensor.
    ranking: (N,) which ranking, 0..G-1, a pair came from.
    margin: (N,) float32, in logits.
    probability: (N,) float32, the fraction of people who prefer `chosen`: 1 without a soft label, never under 0.5.
    weight: (N,) float32, the weight of the ranking in the loss. by_people: (N,) bool, false for an AI's opinions.
    """

    chosen: Tensor
    rejected: Tensor
    ranking: Tensor
    margin: Tensor
    probability: Tensor
    weight: Tensor
    by_people: Tensor

    @property
    def decided(self) -> Tensor:
        """(N,) bool: pairs that count in an accuracy. A soft label of one half is a tie; its loss pulls the two rewards
        together. An AI's opinions count in none."""
        return (self.probability > 0.5) & self.by_people

    def weights(self, reduction: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N,) weights that turn per-pair losses into the batch's loss; they sum to 1 where all rankings weigh 1.

        `prompt`: the mean over rankings of each ranking's mean over its own pairs (InstructGPT, equation 1, where the
        divisor is k choose 2; with ties it is the number of pairs that exist, and a ranking without any is left out).
        `pair`: the mean over all pairs, which is what training on expanded pairs computes.
        A ranking's weight multiplies its losses and is not divided out, so weights have an absolute meaning; a ranking of
        weight 0 counts as if it were not there.
        """
        learned = self.weight > 0
        count = int(learned.sum())
        if count == 0:
            return torch.zeros(len(self.ranking), dtype=dtype, device=self.ranking.device)
        if reduction == "pair":
            shares = torch.full((len(learned),), 1 / count, dtype=dtype, device=self.ranking.device)
        else:
            sizes = torch.bincount(self.ranking)
            rankings = (torch.bincount(self.ranking[learned]) > 0).sum()
            shares = 1 / (sizes[self.ranking] * rankings).to(dtype)
        return shares * self.weight


def pairs_of(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Every (better, worse) pair of positions in one ranking. Rank 1 is best; equal ranks give no pair."""
    return [
        (i, j) if ranks[i] < ranks[j] else (j, i)
        for i, j in combinations(range(len(ranks)), 2)
        if ranks[i] != ranks[j]
    ]


def comparisons(
    ranks: Sequence[int], probability: float | None, pairs: Sequence[SoftPair] | None = None
) -> list[SoftPair]:
    """Every (better, worse, fraction of people who prefer `better`) that the loss learns from.

    probability: of a choice between two, the fraction of people who prefer the first. At one half it is still a comparison,
    unlike a tie between ranks: the two rewards are to be equal. pairs: soft labels in place of ranks.
    """
    if pairs is not None:
        return [(a, b, p) if p >= 0.5 else (b, a, 1 - p) for a, b, p in pairs]
    if probability is None:
        return [(better, worse, 1.0) for better, worse in pairs_of(ranks)]
    return [(0, 1, probability) if probability >= 0.5 else (1, 0, 1 - probability)]


def mean_preferences(compared: Sequence[SoftPair], k: int) -> list[float | None]:
    """For each of k responses the mean probability that it is the better one of its comparisons; None if it is in none."""
    by_place: list[list[float]] = [[] for _ in range(k)]
    for better, worse, probability in compared:
        by_place[better].append(probability)
        by_place[worse].append(1 - probability)
    return [sum(values) / len(values) if values else None for values in by_place]


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
    soft_pairs: Sequence[Sequence[SoftPair] | None] | None = None,
    weights: Sequence[float] | None = None,
    places: Sequence[Sequence[int]] | None = None,
) -> Pairs:
    """The pairs of G rankings.

    degrees, probabilities: each ranking's degree or soft label, or None. margin: the name of a table of MARGINS; a soft
    label of one half has no margin, as neither side is preferred. soft_pairs: an AI's opinions in place of a ranking's ranks,
    or None. weights: each ranking's weight, by default 1.
    places: the positions of each ranking's responses in the flat tensor; by default one ranking after another.
    """
    table = MARGINS[margin]
    chosen, rejected, owner, margins, fractions, weighed, by_people = [], [], [], [], [], [], []
    start = 0
    for index, ranks in enumerate(rankings):
        degree = degrees[index] if degrees is not None else None
        at = places[index] if places is not None else range(start, start + len(ranks))
        soft = soft_pairs[index] if soft_pairs else None
        for better, worse, fraction in comparisons(
            ranks, probabilities[index] if probabilities else None, soft
        ):
            chosen.append(at[better])
            rejected.append(at[worse])
            owner.append(index)
            margins.append(0.0 if degree is None or fraction == 0.5 else table[degree])
            fractions.append(fraction)
            weighed.append(weights[index] if weights else 1.0)
            by_people.append(soft is None)
        start += len(ranks)
    return Pairs(
        chosen=torch.tensor(chosen, dtype=torch.long, device=device),
        rejected=torch.tensor(rejected, dtype=torch.long, device=device),
        ranking=torch.tensor(owner, dtype=torch.long, device=device),
        margin=torch.tensor(margins, dtype=torch.float32, device=device),
        probability=torch.tensor(fractions, dtype=torch.float32, device=device),
        weight=torch.tensor(weighed, dtype=torch.float32, device=device),
        by_people=torch.tensor(by_people, dtype=torch.bool, device=device),
    )
