from __future__ import annotations

import pytest
import torch

from training.configs import MARGINS
from training.core.rankings import batch_pairs, count_ties, pairs_of


def test_a_ranking_gives_exactly_its_six_comparisons():
    ranks = {"A": 4, "B": 1, "C": 3, "D": 2}  # A < C < D < B
    names = list(ranks)
    found = {(names[worse], names[better]) for better, worse in pairs_of(list(ranks.values()))}
    assert found == {("A", "C"), ("A", "D"), ("A", "B"), ("C", "D"), ("C", "B"), ("D", "B")}
    assert len(pairs_of(list(ranks.values()))) == 6


def test_tied_responses_give_no_pair():
    assert pairs_of([1, 1]) == []
    assert sorted(pairs_of([1, 2, 2])) == [(0, 1), (0, 2)]
    assert count_ties([1, 2, 2, 2]) == 3


def test_pairs_point_into_the_flat_batch_and_know_their_ranking():
    pairs = batch_pairs([[2, 1], [1, 1], [1, 2, 3]])
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)) == [
        (1, 0),
        (4, 5),
        (4, 6),
        (5, 6),
    ]
    assert pairs.ranking.tolist() == [0, 2, 2, 2]


def test_reductions_weigh_rankings_or_pairs():
    pairs = batch_pairs([[1, 2], [1, 1], [1, 2, 3]])
    assert pairs.weights("prompt").tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert pairs.weights("pair").tolist() == pytest.approx([1 / 4] * 4)


def test_the_divisor_is_the_number_of_pairs_that_exist():
    pairs = batch_pairs([[1, 2, 2]])
    assert pairs.weights("prompt").tolist() == pytest.approx([1 / 2, 1 / 2])


def test_without_any_pair_there_are_no_weights():
    assert len(batch_pairs([[1, 1]]).weights("prompt")) == 0


def test_margins_follow_the_degree():
    for table in ("none", "small", "large"):
        for degree, margin in MARGINS[table].items():
            assert batch_pairs([[1, 2]], [degree], table).margin.item() == pytest.approx(margin)
    assert MARGINS["small"] == {"significantly": 1, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0}
    assert MARGINS["large"] == {"significantly": 3, "better": 2, "slightly": 1, "negligibly": 0}
    assert batch_pairs([[1, 2, 3]], [None], "large").margin.tolist() == [0, 0, 0]


def test_weights_sum_to_one_whatever_k_is():
    pairs = batch_pairs([[1, 2, 3, 4], [2, 1], [1, 1, 2]])
    for reduction in ("prompt", "pair"):
        assert torch.isclose(pairs.weights(reduction).sum(), torch.tensor(1.0))


def test_soft_labels_stand_the_way_most_people_see_it():
    pairs = batch_pairs([[1, 2], [2, 1], [1, 1], [1, 2], [1, 1]], probabilities=[0.75, 0.25, 0.5, None, None])
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)) == [
        (0, 1),
        (3, 2),
        (4, 5),
        (6, 7),
    ]
    assert pairs.probability.tolist() == [0.75, 0.75, 0.5, 1.0]
    assert pairs.decided.tolist() == [True, True, False, True]
    assert pairs.ranking.tolist() == [0, 1, 2, 3]


def test_a_soft_label_of_one_half_has_no_margin_and_others_have():
    pairs = batch_pairs([[1, 1], [2, 1]], ["better", "better"], "large", probabilities=[0.5, 0.25])
    assert pairs.margin.tolist() == [0, 2]


def test_rankings_may_share_their_responses():
    pairs = batch_pairs([[1, 2, 3], [1, 2]], places=[[0, 1, 2], [2, 0]])
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 0),
    ]
    assert pairs.weights("prompt").tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
