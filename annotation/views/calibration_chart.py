"""Calibration of a reward model or a judge as a chart: how often it is right, over how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.logic.svg_chart import Axis, Chart, Point, scatter_chart
from annotation.logic.translation import format_number, format_percent

# a model is never surer of a pair than of its reverse, so only how often it is right may be below 50%
LOWEST = 0.5
MAX_RADIUS, MIN_RADIUS = 13.0, 3.0


def calibration_chart(bins: Sequence[dict[str, Any]]) -> Chart | None:
    """Chart of bins with `confidence`, `accuracy` and `pairs`: a point for each, its area by the number of pairs; None without
    pairs."""
    filled = [line for line in bins if line["pairs"]]
    if not filled:
        return None
    most = max(line["pairs"] for line in filled)
    points = [
        Point(
            line["accuracy"],
            _description(line),
            x=line["confidence"],
            n=line["pairs"],
            radius=round(max(MIN_RADIUS, MAX_RADIUS * (line["pairs"] / most) ** 0.5), 1),
        )
        for line in filled
    ]
    low = LOWEST if all(line["accuracy"] >= LOWEST for line in filled) else 0.0
    confidence = Axis(low, 1.0, percent=True, name=_("how sure it is"))
    accuracy = Axis(low, 1.0, percent=True, name=_("how often it is right"))
    return scatter_chart([points], x=confidence, y=accuracy, diagonal=True)


def _description(line: dict[str, Any]) -> str:
    text = ngettext(
        "%(confidence)s sure, %(accuracy)s right, %(n)s pair",
        "%(confidence)s sure, %(accuracy)s right, %(n)s pairs",
        line["pairs"],
    )
    shares = {name: format_percent(line[name], 1) for name in ("confidence", "accuracy")}
    return text % {**shares, "n": format_number(line["pairs"])}
