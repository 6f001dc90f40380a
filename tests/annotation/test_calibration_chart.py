from __future__ import annotations

from annotation.views.calibration_chart import MAX_RADIUS, MIN_RADIUS, calibration_chart


def line(confidence: float, accuracy: float, pairs: int) -> dict[str, float | int]:
    return {"confidence": confidence, "accuracy": accuracy, "pairs": pairs}


def test_a_calibrated_model_is_on_the_diagonal() -> None:
    chart = calibration_chart([line(0.5, 0.5, 10), line(0.75, 0.75, 10), line(1.0, 1.0, 10)])
    assert chart
    assert chart.diagonal
    assert [(point.x, point.y) for point in chart.points] == [(0, 100), (50, 50), (100, 0)]


def test_an_overconfident_one_is_below_it() -> None:
    chart = calibration_chart([line(0.9, 0.7, 10)])
    assert chart
    [placed] = chart.points
    assert (placed.x, placed.y) == (80, 60)  # 2 x 100 x 0.4 to the right, 2 x 100 x (0.5 - 0.2) down
    assert placed.point.description == "90.0% sure, 70.0% right, 10 pairs"


def test_areas_go_with_the_pairs_and_empty_bins_are_left_out() -> None:
    chart = calibration_chart(
        [line(0.6, 0.6, 400), line(0.7, 0.7, 100), line(0.8, 0.8, 0), line(0.9, 0.3, 1)]
    )
    assert chart
    tiny = chart.points[-1]
    radii = [placed.point.radius for placed in chart.points]
    assert radii == [MAX_RADIUS, MAX_RADIUS / 2, MIN_RADIUS]
    assert (tiny.x, tiny.y) == (90, 70), "right less often than a coin: then both axes begin at 0"
    assert calibration_chart([]) is None
    assert calibration_chart([line(0.6, 0.6, 0)]) is None
