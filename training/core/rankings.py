"""From rankings to pairs: k-choose-2 as index tensors, so that k rewards serve all of a ranking's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from training.configs import MARGINS


class Pairs(NamedTuple):
    """All comparisons of a batch of G rankings whose K responses, in order, stand in one flat tensor.

    chosen, rejected: (N,) positions among the K responses.
    ranking: (N,) which ranking, 0..G-1, a pair came from.
    margin: (N,) float32, in logits.
    """

    chosen: Tensor
    rejected: Tensor
    ranking: Tensor
    margin: Tensor

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


def count_ties(ranks: Sequence[int]) -> int:
    """Pairs of responses that were called equal."""
    return sum(a == b for a, b in combinations(ranks, 2))


def batch_pairs(
    rankings: Sequence[Sequence[int]],
    degrees: Sequence[str | None] | None = None,
    margin: str = "none",
    device: torch.device | str = "cpu",
) -> Pairs:
    """The pairs of G rankings. `degrees` gives each ranking's degree or None; `margin` names a table of MARGINS."""
    table = MARGINS[margin]
    chosen, rejected, owner, margins = [], [], [], []
    start = 0
    for index, ranks in enumerate(rankings):
        degree = degrees[index] if degrees is not None else None
        for better, worse in pairs_of(ranks):
            chosen.append(start + better)
            rejected.append(start + worse)
            owner.append(index)
            margins.append(0.0 if degree is None else table[degree])
        start += len(ranks)
    return Pairs(
        chosen=torch.tensor(chosen, dtype=torch.long, device=device),
        rejected=torch.tensor(rejected, dtype=torch.long, device=device),
        ranking=torch.tensor(owner, dtype=torch.long, device=device),
        margin=torch.tensor(margins, dtype=torch.float32, device=device),
    )
