from __future__ import annotations

from training.runs.calibration_chart import LARGEST, SIDE, SMALLEST, dots


def line(confidence: float, accuracy: float, pairs: int) -> dict[str, float | int]:
    return {"confidence": confidence, "accuracy": accuracy, "pairs": pairs}


def test_a_calibrated_model_is_on_the_diagonal() -> None:
    for dot in dots([line(0.5, 0.5, 10), line(0.75, 0.75, 10), line(1.0, 1.0, 10)]):
        assert dot.x == SIDE - dot.y
    assert [dot.x for dot in dots([line(0.5, 0.6, 1), line(0.75, 0.6, 1), line(1.0, 0.6, 1)])] == [
        0,
        120,
        240,
    ]


def test_an_overconfident_one_is_below_it() -> None:
    [dot] = dots([line(0.9, 0.7, 10)])
    assert (dot.x, dot.y) == (192.0, 144.0)  # 2 x 240 x 0.4 to the right, 2 x 240 x (0.5 - 0.2) down


def test_areas_go_with_the_pairs_and_empty_bins_are_left_out() -> None:
    large, small, tiny = dots(
        [line(0.6, 0.6, 400), line(0.7, 0.7, 100), line(0.8, 0.8, 0), line(0.9, 0.3, 1)]
    )
    assert (large.radius, small.radius, tiny.radius) == (LARGEST, LARGEST / 2, SMALLEST)
    assert tiny.y == SIDE
    assert dots([]) == []
