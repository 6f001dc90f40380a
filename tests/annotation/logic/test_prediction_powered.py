from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.logic.prediction_powered import effective_judgments, prediction_powered


def test_a_worked_win_rate() -> None:
    # n = 20: Y = f = 1 for 10, Y = 0 for the others, of which 4 have f = 1
    labelled = [(1.0, 1.0)] * 10 + [(0.0, 1.0)] * 4 + [(0.0, 0.0)] * 6
    opinions = [1.0] * 60 + [0.0] * 20
    found = prediction_powered(labelled, opinions)
    assert found is not None
    # Cov = (10 - 20 · 0.5 · 0.7) / 19, Var f over the hundred, of which 74 are 1
    covariance, variance = (10 - 7) / 19, 100 * 0.74 * 0.26 / 99
    coefficient = covariance / ((1 + 20 / 80) * variance)
    assert found.coefficient == pytest.approx(coefficient)
    assert found.rate.value == pytest.approx(coefficient * 0.75 + 0.5 - coefficient * 0.7)
    assert (found.people.value, found.judge, found.opinions, found.rate.n) == (0.5, 0.74, 80, 20)
    assert 20 < found.effective < 100
    assert found.rate.high - found.rate.low < found.people.high - found.people.low


def test_without_opinions_or_with_a_judge_that_is_against_people_it_is_peoples_win_rate() -> None:
    labelled = [(1.0, 0.2)] * 12 + [(0.0, 0.8)] * 12
    for opinions in ([], [0.9] * 50):
        found = prediction_powered(labelled, opinions)
        assert found is not None
        assert (found.coefficient, found.rate) == (0, found.people)
    assert prediction_powered(labelled[:19], [0.9] * 50) is None


def test_opinions_that_are_clamped_are_of_as_much_use() -> None:
    rng = random.Random(1)
    labelled = [
        (y, y if rng.random() < 0.9 else 1 - y) for y in (float(rng.random() < 0.6) for _ in range(100))
    ]
    opinions = [float(rng.random() < 0.6) for _ in range(400)]
    whole = prediction_powered(labelled, opinions)
    clamped = prediction_powered([(y, 0.4 + 0.2 * f) for y, f in labelled], [0.4 + 0.2 * f for f in opinions])
    assert whole is not None
    assert clamped is not None
    assert clamped.coefficient == pytest.approx(5 * whole.coefficient)
    assert clamped.rate.value == pytest.approx(whole.rate.value)


@pytest.mark.parametrize(("skill", "bias"), [(0.85, 0.0), (0.7, 0.2), (0.5, 0.4)])
def test_its_intervals_cover_the_win_rate_however_bad_the_judge_is(skill: float, bias: float) -> None:
    """The judge is right with probability `skill`, and says that the model is better anyway with probability `bias`."""
    rng = random.Random(7)
    win_rate, covered, narrower = 0.6, 0, 0

    def prompt() -> tuple[float, float]:
        y = float(rng.random() < win_rate)
        return y, 1.0 if rng.random() < bias else y if rng.random() < skill else 1 - y

    for _ in range(400):
        found = prediction_powered([prompt() for _ in range(80)], [prompt()[1] for _ in range(400)])
        assert found is not None
        covered += found.rate.low <= win_rate <= found.rate.high
        narrower += found.rate.high - found.rate.low < found.people.high - found.people.low
    assert covered >= 372
    if skill == 0.85:
        assert narrower > 390


@given(
    st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.floats(0, 1)), min_size=20, max_size=40),
    st.lists(st.floats(0, 1), max_size=40),
)
def test_it_is_a_rate_within_its_interval(labelled: list[tuple[float, float]], opinions: list[float]) -> None:
    found = prediction_powered(labelled, opinions)
    assert found is not None
    assert -1e-9 <= found.rate.low <= found.rate.value + 1e-9
    assert found.rate.value <= found.rate.high + 1e-9 <= 1 + 2e-9
    assert found.coefficient >= 0
    assert 0 < found.effective <= len(labelled) + len(opinions)


def test_what_opinions_buy() -> None:
    assert effective_judgments(100, 0.73) == pytest.approx(127, abs=0.5)
    assert effective_judgments(100, 0.85) == pytest.approx(196, abs=0.5)
    assert effective_judgments(100, 0.4) == 100
