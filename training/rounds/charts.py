"""The charts of a round's page: win rates with their intervals, and reward over KL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from annotation.logic.agreement import Interval
from annotation.logic.svg_chart import Chart, Point, round_axis, scatter_chart
from annotation.logic.translation import format_number
from training import metric_labels
from training.rounds.gates import judge_label


@dataclass(frozen=True)
class WinRate:
    """How often the new policy's answers are preferred, by one judge or on one group of prompts."""

    label: str
    share: Interval


def win_rate(label: str, rate: dict[str, Any]) -> WinRate:
    """rate: as `mean_win_rate` of `training.runs.comparisons` returns it."""
    return WinRate(label, Interval(rate["mean"], rate["low"], rate["high"], rate["prompts"]))


def win_rates(report: dict[str, Any]) -> list[WinRate]:
    """By each judge."""
    return [win_rate(capfirst(judge_label(rate)), rate) for rate in report.get("wins", [])]


def win_rates_by_tag(report: dict[str, Any]) -> list[WinRate]:
    return [win_rate(rate["label"], rate) for rate in report.get("by_tag", [])]


def win_rates_by_length(report: dict[str, Any]) -> list[WinRate]:
    """By the length of the old policy's answers."""
    return [win_rate(capfirst(_(rate["label"])), rate) for rate in report.get("by_length", [])]


def reward_by_kl(runs: list[dict[str, Any]]) -> Chart | None:
    """Each run's reward over the square root of its KL, from the report's `reward_by_kl`; None without points."""
    points = [point for run in runs for point in run["points"]]
    if not points:
        return None
    rewards = [reward for _kl, reward in points]
    return scatter_chart(
        [
            [
                Point(
                    reward, _reward_text(run["name"], kl, reward), x=kl**0.5, radius=2.5, series=run["name"]
                )
                for kl, reward in run["points"]
            ]
            for run in runs
        ],
        x=round_axis(0, max(kl for kl, _reward in points) ** 0.5, _("√KL, in √nats")),
        y=round_axis(min(rewards), max(rewards), _("reward")),
        joined=True,
    )


def kept_rewards(runs: list[dict[str, Any]]) -> list[str]:
    """The reward and KL of the weights that each run kept."""
    return [_reward_text(run["name"], *run["points"][run.get("kept", -1)]) for run in runs if run["points"]]


def _reward_text(name: str, kl: float, reward: float) -> str:
    values = {"run": name, "reward": metric_labels.format_value("reward", reward), "kl": format_number(kl, 1)}
    return _("%(run)s: %(reward)s at %(kl)s nats") % values
