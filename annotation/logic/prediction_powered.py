"""Prediction-powered win rates: from judgments of some prompts and a judge's opinions on more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from annotation.logic.agreement import Interval, wilson

MIN_LABELLED = 20


@dataclass(frozen=True)
class PoweredRate:
    """A win rate from people's judgments and a judge's opinions.

    Attributes:
        rate: the estimate; its `n` is the number of prompts that people judged.
        people: from people's judgments alone.
        judge: from opinions alone, of all prompts; nothing corrects it.
        coefficient: how much of the opinions is used.
        opinions: prompts with opinions only.
        effective: how many prompts people would have had to judge for an interval as narrow.
    """

    rate: Interval
    people: Interval
    judge: float
    coefficient: float
    opinions: int
    effective: float


def prediction_powered(
    labelled: Sequence[tuple[float, float]], opinions: Sequence[float]
) -> PoweredRate | None:
    """A prediction-powered win rate (Angelopoulos et al. 2023, arXiv:2311.01453, "PPI++"): right however bad the judge is, if
    people judged a random part of the prompts.

        rate = l · mean_N(f) + mean_n(Y - l f),   l = Cov(Y, f) / ((1 + n/N) Var(f))
        variance = Var(Y - l f) / n + l² Var(f) / N

    l is not below 0: a judge that seems to be against people is left out. It has no upper bound, since opinions may be less
    spread than people's judgments (as those clamped to 0.4 to 0.6 are). The interval is Wilson's on the number of
    judgments with that variance, at most n + N.

    Args:
        labelled: for each of the n prompts that people judged, Y, the share of people who prefer the model, and f, the
            judge's probability that it is better.
        opinions: f of each of the N other prompts.

    Returns:
        None with fewer than 20 labelled prompts: the variance would be too uncertain.
    """
    n, others = len(labelled), len(opinions)
    if n < MIN_LABELLED:
        return None
    ys, fs = [y for y, _ in labelled], [f for _, f in labelled]
    mean_y, mean_f = fmean(ys), fmean(fs)
    everything = [*fs, *opinions]
    var_f = _variance(everything, fmean(everything), 1)
    covariance = sum((y - mean_y) * (f - mean_f) for y, f in labelled) / (n - 1)
    coefficient = max(0.0, covariance / ((1 + n / others) * var_f)) if others and var_f > 0 else 0.0
    residuals = [y - coefficient * f for y, f in labelled]
    # two degrees of freedom: the mean, and the coefficient, which was fitted on the same prompts
    variance = _variance(residuals, fmean(residuals), 2 if coefficient else 1) / n
    rate = fmean(residuals)
    if coefficient:
        variance += coefficient**2 * var_f / others
        rate += coefficient * fmean(opinions)
    rate = min(1.0, max(0.0, rate))
    own = _variance(ys, mean_y, 1) / n
    return PoweredRate(
        _rate_interval(rate, variance, n, n + others),
        _rate_interval(mean_y, own, n, n),
        fmean(everything),
        coefficient,
        others,
        min(float(n + others), n * own / variance) if variance > 0 else float(n),
    )


def _variance(values: Sequence[float], mean: float, fitted: int) -> float:
    return sum((value - mean) ** 2 for value in values) / max(1, len(values) - fitted)


def _rate_interval(rate: float, variance: float, n: int, most: int) -> Interval:
    effective = min(float(most), rate * (1 - rate) / variance) if variance > 0 else float(n)
    effective = max(effective, 1.0)
    return Interval(rate, *wilson(rate * effective, effective), n)


def effective_judgments(n: float, agreement: float) -> float:
    """How many judgments n are worth beside opinions without number: n / (1 - r²), where r = 2 · agreement - 1 is the
    correlation of opinions with judgments. 1.27 n at an agreement of 73%, 2 n at 85%."""
    r = max(0.0, 2 * agreement - 1)
    return n / (1 - r * r) if r < 1 else float("inf")
