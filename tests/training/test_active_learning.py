from __future__ import annotations

import random
from collections import Counter

import pytest

from training.rounds import active_learning

WEIGHTS = {f"p{n}": 1.0 + 3.0 * (n < 5) for n in range(20)}


def test_it_draws_exactly_count_keys_and_none_twice() -> None:
    for count in (1, 7, 19):
        drawn = active_learning.draw(WEIGHTS, count, control_share=0.3, rng=random.Random(count))
        assert len({one.key for one in drawn}) == len(drawn) == count


def test_it_takes_all_where_there_are_too_few() -> None:
    drawn = active_learning.draw(WEIGHTS, 50, control_share=0.3, rng=random.Random(0))
    assert {one.key for one in drawn} == set(WEIGHTS)
    assert {one.probability for one in drawn} == {1.0}


def test_the_stated_probability_is_the_frequency() -> None:
    rng = random.Random(1)
    times, seen, stated = 6000, Counter[str](), {}
    for _ in range(times):
        for one in active_learning.draw(WEIGHTS, 6, control_share=0.25, rng=rng):
            seen[one.key] += 1
            stated[one.key] = one.probability
    assert stated["p0"] > 2 * stated["p19"]
    for key, probability in stated.items():
        assert seen[key] / times == pytest.approx(probability, abs=0.025)


def test_the_controls_are_a_uniform_sample() -> None:
    rng = random.Random(2)
    times, seen = 8000, Counter[str]()
    for _ in range(times):
        seen.update(
            one.key for one in active_learning.draw(WEIGHTS, 6, control_share=0.5, rng=rng) if one.control
        )
    for key in WEIGHTS:
        assert seen[key] / times == pytest.approx(0.5 * 6 / 20, abs=0.02)


def test_inclusion_probabilities_add_up_and_none_is_above_one() -> None:
    probabilities = active_learning.inclusion_probabilities({"a": 100.0, "b": 1.0, "c": 1.0, "d": 0.0}, 2)
    assert probabilities["a"] == 1.0
    assert sum(probabilities.values()) == pytest.approx(2)
    assert probabilities["b"] == probabilities["c"] > probabilities["d"] > 0


def test_what_a_reward_model_cannot_tell_apart_is_uncertain() -> None:
    assert active_learning.uncertainty([1.0, 1.0]) == 1.0
    assert active_learning.uncertainty([9.0, -9.0]) < 1e-6
    assert active_learning.uncertainty([3.0]) == 0.0
    assert active_learning.disagreement([2.0, 0.0], [2.0, 0.0]) == 0.0
    assert active_learning.disagreement([9.0, -9.0], [-9.0, 9.0]) == pytest.approx(1.0)
    assert active_learning.closest_pair([0.0, 5.0, 5.5, -4.0]) == (1, 2)


def test_the_weight_depends_on_the_strategy() -> None:
    sure_but_at_odds = [[30.0, -30.0], [-30.0, 30.0]]
    unsure_but_agreed = [[1.0, 1.0], [1.0, 1.0]]
    assert active_learning.weight("uncertain", unsure_but_agreed) == pytest.approx(1.02)
    assert active_learning.weight("uncertain", sure_but_at_odds) == pytest.approx(0.02)
    assert active_learning.weight("disagreement", unsure_but_agreed) == pytest.approx(0.02)
    assert active_learning.weight("disagreement", sure_but_at_odds) == pytest.approx(1.02)
    # with one model there is nobody to differ with
    assert active_learning.weight("disagreement", unsure_but_agreed[:1]) == pytest.approx(1.02)
    assert (
        active_learning.weight("uniform", sure_but_at_odds) == active_learning.weight("uncertain", []) == 1.0
    )
