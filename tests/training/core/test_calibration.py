from __future__ import annotations

import math
import random

import pytest

from training.core.calibration import (
    calibration_error,
    calibration_error_by_chance,
    confidence,
    reliability_bins,
)

Rankings = list[tuple[list[float], list[tuple[int, int]]]]


def people(n: int, seed: int, scale: float = 1.0) -> Rankings:
    """n rankings of four responses by people whose preferences have the rewards times `scale` as logits."""
    rng = random.Random(seed)
    rankings = []
    for _ in range(n):
        rewards = [rng.gauss(0, 1) for _ in range(4)]
        noisy = [scale * reward - math.log(rng.expovariate(1.0)) for reward in rewards]
        order = sorted(range(4), key=lambda place: -noisy[place])
        rankings.append((rewards, [(one, other) for i, one in enumerate(order) for other in order[i + 1 :]]))
    return rankings


def error(rankings: Rankings) -> float:
    pairs = [(rewards[one] - rewards[other]) for rewards, ordered in rankings for one, other in ordered]
    found = calibration_error([(confidence(pair), float(pair > 0)) for pair in pairs])
    assert found is not None
    return found


@pytest.mark.parametrize("n", [20, 200])
def test_a_calibrated_model_is_below_the_error_by_chance_in_most_samples(n: int) -> None:
    below = 0
    for seed in range(60):
        rankings = people(n, seed)
        limit = calibration_error_by_chance(rankings)
        assert limit is not None
        below += error(rankings) <= limit
    assert below >= 55  # 58.5 are expected


def test_a_model_that_is_too_sure_is_above_it_as_soon_as_there_are_judgments_enough() -> None:
    rankings = people(300, 1, scale=0.3)
    limit = calibration_error_by_chance(rankings)
    assert limit is not None
    assert error(rankings) > 2 * limit


def test_more_judgments_leave_less_to_chance() -> None:
    few, many = (calibration_error_by_chance(people(n, 0)) for n in (10, 400))
    assert few is not None
    assert many is not None
    assert few > 4 * many


def test_the_same_numbers_give_the_same_limit_and_nothing_gives_none() -> None:
    assert calibration_error_by_chance(people(5, 2)) == calibration_error_by_chance(people(5, 2))
    assert calibration_error_by_chance([]) is None
    assert calibration_error_by_chance([([1.0, 2.0], [])]) is None
    assert calibration_error([]) is None


def test_the_confidence_of_half_and_half_is_the_lowest_bin_that_is_filled() -> None:
    assert confidence(0.0) == 0.5
    assert confidence(-800.0, 2.0) == pytest.approx(1.0)
    assert confidence(1.0, 800.0) == pytest.approx(0.0)
    assert reliability_bins([(0.5, 1.0), (1.0, 0.0)]) == [
        {"confidence": 0.5, "accuracy": 1.0, "pairs": 1},
        {"confidence": 1.0, "accuracy": 0.0, "pairs": 1},
    ]
