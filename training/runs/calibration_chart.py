"""Calibration of a reward model as a chart: how often it is right, over how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from annotation.logic.svg_chart import Axis, Chart, Point, scatter_chart

# a model is never surer of a pair than of its reverse, so there is nothing below 50%
CONFIDENCE = Axis(0.5, 1.0, percent=True, name="how sure it is")
ACCURACY = Axis(0.5, 1.0, percent=True, name="how often it is right")
MAX_RADIUS, MIN_RADIUS = 13.0, 3.0


def calibration_chart(bins: Sequence[dict[str, Any]]) -> Chart | None:
    """Chart of a report's `reliability`: a point for each bin, its area by the number of pairs; None without pairs."""
    filled = [line for line in bins if line["pairs"]]
    if not filled:
        return None
    most = max(line["pairs"] for line in filled)
    points = [
        Point(
            line["accuracy"],
            f"{line['confidence']:.1%} sure, {line['accuracy']:.1%} right, {line['pairs']:,} pair"
            f"{'' if line['pairs'] == 1 else 's'}",
            x=line["confidence"],
            radius=round(max(MIN_RADIUS, MAX_RADIUS * (line["pairs"] / most) ** 0.5), 1),
        )
        for line in filled
    ]
    return scatter_chart([points], x=CONFIDENCE, y=ACCURACY, diagonal=True)
