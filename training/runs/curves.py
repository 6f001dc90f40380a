"""The curves of runs: which metrics share a chart, their axes, several runs over one another, and all of it as CSV."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from annotation.logic.csv_text import write_rows
from training.metric_labels import METRIC_LABELS, label_of
from training.models import Run
from training.runs.queries import metric_curves

MOST_RUNS = 6
"""In one chart: so many lines can be told apart without their colours."""


@dataclass(frozen=True)
class Chart:
    """Metrics that share a chart. `large` charts come first, two in a row."""

    title: str
    names: tuple[str, ...]
    large: bool = False


CHARTS = (
    Chart(_("Reward"), ("reward", "held_out_reward", "held_out_second_reward"), large=True),
    Chart(_("Loss"), ("loss", "held_out_loss"), large=True),
    Chart(_("Accuracy"), ("accuracy", "held_out_accuracy", "criteria_accuracy"), large=True),
    Chart(_("Rewards"), ("reward_chosen", "reward_rejected")),
    Chart(_("Reward margin"), ("reward_margin",)),
    Chart(_("KL"), ("kl", "held_out_kl")),
)
"""Every other metric has a small chart of its own."""

UNITS = {
    **dict.fromkeys(("accuracy", "held_out_accuracy", "criteria_accuracy"), _("share of pairs")),
    **dict.fromkeys(("kl", "held_out_kl", "reference_point"), _("nats per answer")),
    **dict.fromkeys(("kl_bon", "entropy"), _("nats")),
    "sampler_gap": _("nats per token"),
    "kl_root": _("√nats"),
    "tokens_per_s": _("tokens per second"),
    **dict.fromkeys(("length", "mean_tokens"), _("tokens per answer")),
    **dict.fromkeys(("ended", "finished"), _("share of answers")),
    **dict.fromkeys(("clipped", "sampler_capped"), _("share of tokens")),
    "memory_mb": _("MB"),
    **dict.fromkeys(("reward", "held_out_reward", "held_out_second_reward"), _("mean reward")),
}
"""The name of the y axis, where the metric's label does not say enough."""
COIN_FLIPS = ("accuracy", "held_out_accuracy", "criteria_accuracy", "instruction_probability")
"""Metrics that are 50% by chance, which their charts mark."""


def chart_data() -> dict[str, Any]:
    """Labels, axes and charts as JSON, for the scripts that draw curves."""
    return {
        "metrics": {
            name: asdict(label_of(name))
            | {
                "unit": gettext(UNITS[name]) if name in UNITS else "",
                "reference": 0.5 if name in COIN_FLIPS else None,
            }
            for name in METRIC_LABELS
        },
        "charts": [asdict(replace(chart, title=gettext(chart.title))) for chart in CHARTS],
    }


@dataclass(frozen=True)
class RunCurves:
    """A run in a chart of several: its name there, and its points by metric, as `metric_curves` returns them."""

    run: Run
    name: str
    curves: dict[str, list[list[float]]]


def overlay(runs: Sequence[Run]) -> list[RunCurves]:
    """The curves of runs, in their order. A query a run."""
    return [RunCurves(run, run_label(run), metric_curves(run)) for run in runs]


def run_label(run: Run) -> str:
    """A run with its round or its model, as legends name it."""
    if run.round is not None:
        values = {"run": run, "round": run.round.number}
        return gettext("%(run)s, round %(round)s") % values
    return gettext("%(run)s, of %(model)s") % {"run": run, "model": run.model} if run.model else str(run)


def metrics_of(drawn: Sequence[RunCurves]) -> list[str]:
    """The metrics that any of the runs has, in the order of their charts; those without a place there follow by name."""
    present = {name for one in drawn for name in one.curves}
    placed = [name for chart in CHARTS for name in chart.names if name in present]
    return placed + sorted(present.difference(placed))


def csv_lines(drawn: Sequence[RunCurves], metrics: Collection[str] = ()) -> Iterator[bytes]:
    """Every point as a line of CSV: run, name, metric, step, value. metrics: only these, if any are named."""
    yield _csv_line(("run", "name", "metric", "step", "value"))
    for one in drawn:
        for metric, points in one.curves.items():
            if not metrics or metric in metrics:
                for step, value in points:
                    yield _csv_line((one.run.pk, one.name, metric, step, value))


def _csv_line(values: Sequence[Any]) -> bytes:
    return write_rows([values]).encode()
