"""Calibration of a reward model: how far its confidence is from how often people agree with it, and how far chance alone would
bring it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

BINS = 20
DRAWS = 200
SEED = 0
QUANTILE = 0.975

Reliability = Sequence[tuple[float, float]]
"""Of each pair the model's confidence, from one half to 1, and the fraction of people who agree with it."""
Choices = tuple[Sequence[float], Sequence[tuple[int, int]]]
"""A ranking: the rewards of its responses, and the pairs of them that it orders, the better one first."""


def confidence(difference: float, margin: float = 0.0) -> float:
    """The probability that people agree with the model, by the difference of two rewards, in logits."""
    value = abs(difference) - margin
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def reliability_bins(pairs: Reliability) -> list[dict[str, float | int]]:
    """The mean confidence of each bin and how often people agree with the model; empty bins are left out."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        bins[_bin(pair[0])].append(pair)
    return [
        {
            "confidence": sum(sure for sure, _ in members) / len(members),
            "accuracy": sum(agreement for _, agreement in members) / len(members),
            "pairs": len(members),
        }
        for members in bins
        if members
    ]


def calibration_error(pairs: Reliability) -> float | None:
    """The mean distance between confidence and accuracy of the reliability bins, over pairs; None without pairs."""
    if not pairs:
        return None
    return sum(b["pairs"] * abs(b["confidence"] - b["accuracy"]) for b in reliability_bins(pairs)) / len(
        pairs
    )


def calibration_error_by_chance(rankings: Sequence[Choices]) -> float | None:
    """The calibration error that a perfectly calibrated model with these rewards stays below in 97.5% of all samples of as many
    rankings; None without pairs.

    Of few pairs the share that agrees differs from its expectation, and the error, a sum of distances, is never below 0. People
    are drawn by the model's own probabilities: each ranking orders reward + Gumbel noise (Plackett-Luce), in which one response
    beats another with the sigmoid of their rewards' difference, and the pairs of one ranking depend on each other. Equal seeds
    make it the same for the same numbers.
    """
    rewards: list[float] = []
    better: list[int] = []
    worse: list[int] = []
    for scores, pairs in rankings:
        better += [len(rewards) + first for first, _ in pairs]
        worse += [len(rewards) + second for _, second in pairs]
        rewards += scores
    if not better:
        return None
    reward, one, other = torch.tensor(rewards, dtype=torch.float64), torch.tensor(better), torch.tensor(worse)
    difference = reward[one] - reward[other]
    sure = torch.sigmoid(difference.abs())
    bins = torch.tensor([_bin(value) for value in sure.tolist()])
    generator = torch.Generator().manual_seed(SEED)
    errors = torch.empty(DRAWS, dtype=torch.float64)
    for draw in range(DRAWS):
        perceived = reward - torch.empty_like(reward).exponential_(generator=generator).log()
        agrees = (difference * (perceived[one] - perceived[other]) > 0).double()
        agrees[difference == 0] = 0.5
        errors[draw] = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, sure - agrees).abs().sum()
    return float(errors.quantile(QUANTILE)) / len(better)


def _bin(sure: float) -> int:
    return min(int(sure * BINS), BINS - 1)
