from __future__ import annotations

from itertools import product
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from annotation.logic import consensus, ranking
from tests.patience import ends

MANY = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(1, k), min_size=k, max_size=k), min_size=1, max_size=5)
)


class TestKemeny:
    @given(MANY)
    def test_no_other_order_is_nearer(self, rankings: list[list[int]]) -> None:
        k = len(rankings[0])
        found = consensus.kemeny(rankings)

        def far(order: tuple[int, ...] | list[int]) -> float:
            return sum(consensus.distance(order, ranks) for ranks in rankings)

        assert far(found) == pytest.approx(min(far(order) for order in product(range(1, k + 1), repeat=k)))
        assert found == ranking.dense(found)

    def test_most_people_win_and_an_even_split_is_a_tie(self) -> None:
        assert consensus.kemeny([[1, 2, 3], [1, 2, 3], [3, 2, 1]]) == [1, 2, 3]
        assert consensus.kemeny([[1, 2], [2, 1]]) == [1, 1]
        assert consensus.kemeny([[1, 1], [1, 1], [1, 2]]) == [1, 1]
        assert consensus.kemeny([]) == []

    def test_a_circle_is_broken_where_fewest_people_mind(self) -> None:
        # A > B by 7 to 2, B > C by 6 to 3, C > A by 5 to 4: Condorcet's paradox; Kemeny drops the weakest majority
        rankings = [[1, 2, 3]] * 4 + [[2, 3, 1]] * 3 + [[3, 1, 2]] * 2
        assert consensus.kemeny(rankings) == [1, 2, 3]

    @settings(max_examples=25)
    @given(st.lists(st.permutations(range(1, 10)), min_size=3, max_size=3))
    def test_nine_answers_are_not_too_many(self, rankings: list[list[int]]) -> None:
        with ends():
            assert len(consensus.kemeny(rankings)) == 9


class TestBradleyTerry:
    def test_two_answers_have_the_odds_of_their_votes(self) -> None:
        strengths = consensus.bradley_terry([[0, 6], [2, 0]], prior=0)
        assert exp(strengths[0] - strengths[1]) == pytest.approx(3)
        assert sum(strengths) == pytest.approx(0)

    def test_it_exists_where_one_answer_won_everything(self) -> None:
        strengths = consensus.bradley_terry(consensus.votes([[1, 2, 3]] * 3))
        assert strengths[0] > strengths[1] > strengths[2]
        assert max(map(abs, strengths)) < 10
        assert consensus.bradley_terry([[0.0]]) == [0.0]

    def test_it_is_the_baseball_league_of_agresti(self) -> None:
        # Agresti, Categorical Data Analysis, table 10.10: American League 1987; Milwaukee is the strongest with 1.581
        # above Baltimore, then Detroit 1.436, Toronto 1.294, New York 1.248, Boston 1.108, Cleveland 0.684
        wins = [
            [0, 7, 9, 7, 7, 9, 11],
            [6, 0, 7, 5, 11, 9, 9],
            [4, 6, 0, 7, 7, 8, 12],
            [6, 8, 6, 0, 6, 7, 10],
            [6, 2, 6, 7, 0, 7, 12],
            [4, 4, 5, 6, 6, 0, 6],
            [2, 4, 1, 3, 1, 7, 0],
        ]
        found = consensus.bradley_terry(wins, prior=0)
        above = [round(value - found[-1], 3) for value in found]
        assert above == [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0]

    @settings(max_examples=25)
    @given(MANY)
    def test_it_is_the_likeliest(self, rankings: list[list[int]]) -> None:
        wins = np.array(consensus.votes(rankings)) + 0.5
        np.fill_diagonal(wins, 0)

        def unlikelihood(strengths: np.ndarray) -> float:
            return float((wins * np.log1p(np.exp(strengths[None, :] - strengths[:, None]))).sum())

        best = minimize(unlikelihood, np.zeros(len(wins)), tol=1e-12).x
        found = consensus.bradley_terry(consensus.votes(rankings))
        assert found == pytest.approx(list(best - best.mean()), abs=1e-3)


class TestBradleyTerryErrors:
    def test_of_two_they_follow_from_the_odds(self) -> None:
        wins = [[0.0, 6.0], [2.0, 0.0]]
        strengths = consensus.bradley_terry(wins, prior=0)
        # the difference of both has the variance 1 / (n p (1 - p)), and each is half of it
        expected = (1 / (8 * 0.75 * 0.25)) ** 0.5 / 2
        errors = consensus.bradley_terry_errors(wins, strengths, prior=0)
        assert errors == pytest.approx([expected, expected], rel=1e-4)

    @given(
        st.integers(2, 6).flatmap(
            lambda k: st.lists(st.lists(st.integers(0, 40), min_size=k, max_size=k), min_size=k, max_size=k)
        )
    )
    def test_they_are_those_of_the_pseudoinverse(self, wins: list[list[float]]) -> None:
        k, prior = len(wins), 0.5
        wins = [[0 if i == j else n for j, n in enumerate(row)] for i, row in enumerate(wins)]
        strengths = consensus.bradley_terry(wins, prior=prior)
        chances = np.array([[1 / (1 + exp(b - a)) for b in strengths] for a in strengths])
        times = np.array(wins) + np.array(wins).T + 2 * prior
        weights = times * chances * (1 - chances)
        np.fill_diagonal(weights, 0)
        information = np.diag(weights.sum(axis=1)) - weights
        expected = np.sqrt(np.diag(np.linalg.pinv(information, hermitian=True)))
        assert consensus.bradley_terry_errors(wins, strengths, prior=prior) == pytest.approx(
            list(expected), rel=1e-6
        )
        assert k == len(expected)

    def test_who_won_everything_is_not_certain_to_be_better(self) -> None:
        few, many = ([[0.0, float(n)], [0.0, 0.0]] for n in (3, 300))
        errors = [
            consensus.bradley_terry_errors(wins, consensus.bradley_terry(wins))[0] for wins in (few, many)
        ]
        strengths = [consensus.bradley_terry(wins)[0] for wins in (few, many)]
        assert strengths[0] < 1.96 * errors[0]
        assert strengths[1] > 1.96 * errors[1]
