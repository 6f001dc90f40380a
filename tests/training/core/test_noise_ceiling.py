"""The noise ceiling, against simulated people whose noise is known."""

from __future__ import annotations

import random

import pytest

from training.core.noise_ceiling import mean_interval, noise_ceiling


def simulated(probabilities: list[float], people: int, seed: int) -> tuple[float, float]:
    """How often two people agree, and how often one agrees with what most people would say."""
    rng = random.Random(seed)
    agree, best, total = 0, 0, 0
    for p in probabilities:
        votes = [rng.random() < p for _ in range(people)]
        for n, one in enumerate(votes):
            best += one == (p >= 0.5)
            agree += sum(one == other for other in votes[n + 1 :])
            total += len(votes[n + 1 :])
    return agree / total, best / (people * len(probabilities))


@pytest.mark.parametrize("p", [0.5, 0.6, 0.75, 0.9, 1.0])
def test_it_is_what_the_best_model_reaches_where_all_pairs_are_equally_hard(p: float) -> None:
    agreement, best = simulated([p] * 4000, 3, seed=1)
    assert noise_ceiling(agreement) == pytest.approx(best, abs=0.03 if p > 0.5 else 0.08)


def test_it_is_an_upper_bound_where_pairs_differ() -> None:
    rng = random.Random(2)
    for low in (0.5, 0.7):
        agreement, best = simulated([rng.uniform(low, 1.0) for _ in range(4000)], 3, seed=3)
        assert agreement < best < noise_ceiling(agreement) < best + 0.05


def test_people_who_agree_no_better_than_chance_leave_nothing_to_learn() -> None:
    assert noise_ceiling(0.475) == noise_ceiling(0.5) == 0.5
    assert noise_ceiling(1.0) == 1.0


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = random.Random(4)
    covered = 0
    for _ in range(200):
        clusters = []
        for _ in range(60):
            p = rng.betavariate(4, 2)  # what belongs to one prompt is alike; the mean is 2/3
            clusters.append([float(rng.random() < p) for _ in range(6)])
        low, high = mean_interval(clusters) or (0, 0)
        covered += low <= 2 / 3 <= high
    assert 180 <= covered <= 199


def test_clusters_that_are_alike_have_a_wider_interval_than_single_numbers() -> None:
    alike = [[1.0] * 10] * 5 + [[0.0] * 10] * 5
    single = [[number] for cluster in alike for number in cluster]
    wide, narrow = mean_interval(alike), mean_interval(single)
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert mean_interval(alike) == wide
    assert mean_interval([[1.0, 0.0], []]) is None


def test_a_few_that_agree_are_not_certain() -> None:
    low, high = mean_interval([[1.0, 1.0]] * 3) or (1, 1)
    assert low < 0.6
    assert high == 1.0
    low, _high = mean_interval([[1.0]] * 200) or (1, 1)
    assert 0.96 < low < 1.0
