"""The charts of a round's page: win rates as bars, and reward over KL as curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from training import metric_labels


@dataclass(frozen=True)
class WinRateBar:
    """A win rate with its interval, in percent."""

    label: str
    mean: float
    low: float
    high: float
    prompts: int

    @property
    def width(self) -> float:
        return max(2.0, self.high - self.low)

    @property
    def left(self) -> float:
        """Where the bar starts; one of minimal width stays inside the chart."""
        return min(98.0, self.low)


def win_rate_bars(rates: list[dict[str, Any]]) -> list[WinRateBar]:
    """rates: entries of the report's `wins`, `by_tag` or `by_length`."""
    return [
        WinRateBar(
            capfirst(rate.get("by") or rate["label"]),
            100 * rate["mean"],
            100 * rate["low"],
            100 * rate["high"],
            rate["prompts"],
        )
        for rate in rates
    ]


@dataclass(frozen=True)
class RewardCurve:
    """Reward over the square root of the KL, in a drawing of 320 by 160. last: the last point in words."""

    name: str
    path: str
    dots: list[tuple[float, float]]
    last: str


def reward_curves(runs: list[dict[str, Any]]) -> list[RewardCurve]:
    """The curves of the report's `reward_by_kl`, to a common scale."""
    points = [point for run in runs for point in run["points"]]
    if not points:
        return []
    max_root = max(kl for kl, _ in points) ** 0.5 or 1.0
    low, high = min(reward for _, reward in points), max(reward for _, reward in points)
    spread = (high - low) or 1.0
    curves = []
    for run in runs:
        dots = [
            (40 + 270 * kl**0.5 / max_root, 140 - 120 * (reward - low) / spread)
            for kl, reward in run["points"]
        ]
        path = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(dots))
        kl, reward = run["points"][-1]
        last = f"{metric_labels.shown('reward', reward)} at {kl:.1f} nats"
        curves.append(RewardCurve(run["name"], path, dots, last))
    return curves
