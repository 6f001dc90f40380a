from __future__ import annotations

import random

from training.rounds.accuracy_loss import AccuracyLoss, AgreedPairs


def measure(new: AgreedPairs, old: AgreedPairs, prompts: dict[int, int] | None = None) -> AccuracyLoss:
    found = AccuracyLoss.measure(new, old, prompts or {pk: pk for pk in new | old})
    assert found is not None
    return found


def models(n: int, seed: int, new: float, old: float, size: int = 6) -> tuple[dict, dict]:
    """Judgments of `size` pairs each: both models know half of the prompts alike, and of the others each a share of its own."""
    rng = random.Random(seed)
    agreements: tuple[dict[int, tuple[float, int]], ...] = ({}, {})
    for pk in range(n):
        same = rng.random() < 0.5
        luck = float(rng.random() < 0.7) * size
        for agreement, share in zip(agreements, (new, old), strict=True):
            agreement[pk] = (luck if same else float(rng.random() < share) * size, size)
    return agreements


def test_figures_by_hand() -> None:
    found = measure({1: (2, 3), 2: (0.5, 1), 3: (9, 9)}, {1: (3, 3), 2: (0, 1), 4: (9, 9)})
    assert (found.pairs, found.old, found.new, found.value) == (4, 0.75, 0.625, 0.125)
    assert found.low < 0.125 < found.high
    assert AccuracyLoss.measure({1: (1, 1)}, {2: (1, 1)}, {}) is None
    assert AccuracyLoss.measure({}, {}, {}) is None


def test_the_interval_covers_the_true_loss() -> None:
    covered = 0
    for seed in range(200):
        found = measure(*models(80, seed, new=0.6, old=0.8))
        covered += found.low <= 0.1 <= found.high
    assert covered >= 183  # 190 are expected


def test_a_few_prompts_that_agree_prove_nothing() -> None:
    few = measure({1: (0, 1), 2: (0, 1)}, {1: (1, 1), 2: (1, 1)})
    assert (few.value, few.low < 0.0) == (1.0, True)
    same = measure({1: (1, 1), 2: (1, 1)}, {1: (1, 1), 2: (1, 1)})
    assert same.low < -0.2 < 0.2 < same.high
    many = dict.fromkeys(range(30), (0, 1))
    assert measure(many, dict.fromkeys(range(30), (1, 1))).low > 0.5


def test_the_interval_is_narrow_where_both_models_are_wrong_on_the_same_pairs() -> None:
    """Both wrong on the same third: the difference is known far better than either accuracy."""
    old = {pk: (float(pk % 3 > 0), 1) for pk in range(300)}
    new = old | dict.fromkeys(range(1, 40, 3), (0.0, 1))
    found = measure(new, old)
    assert 0.015 < found.low < found.value < found.high < 0.08


def test_judgments_of_one_prompt_count_as_one() -> None:
    new, old = dict.fromkeys(range(40), (0.0, 1)), {pk: (float(pk < 10), 1) for pk in range(40)}
    apart = measure(new, old)
    together = measure(new, old, {pk: pk // 10 for pk in range(40)})
    assert together.high - together.low > 2 * (apart.high - apart.low)
