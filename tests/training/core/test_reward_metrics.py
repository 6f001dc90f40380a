from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from training.core.data import Ranking
from training.core.preference_groups import PreferenceGroup
from training.core.reward_metrics import annotator_agreements, reward_report
from training.core.tokenization import EncodedGroup


def ranking(ranks: list[int] | None, lengths: list[int], **more: Any) -> Ranking:
    empty: dict[str, Any] = {"degree": None, "held_out": True, "token_ids": [None] * len(lengths)}
    return Ranking(
        1, 1, [{"role": "user", "content": "a"}], ["x" * length for length in lengths], ranks, **empty | more
    )


def group(*rankings: Ranking, places: list[list[int]] | None = None) -> PreferenceGroup:
    k = len(rankings[0].responses)
    return PreferenceGroup(
        0, rankings, EncodedGroup([1], [[2]] * k), places or [list(range(k))] * len(rankings)
    )


def test_figures_by_hand():
    judged = [
        group(ranking([1, 2], [3, 5], degree="better")),  # right, by 1; the shorter was preferred
        group(ranking([2, 1], [4, 9], degree="slightly")),  # wrong, by 2; the longer was preferred
        group(ranking([1, 2, 2], [7, 7, 6])),  # right by 1, level; one as long, one longer; a tie
    ]
    found = reward_report(judged, [[1.0, 0.0], [2.0, 0.0], [1.0, 0.0, 1.0]], margin="large")
    assert (found["pairs"], found["ties"], found["prompts"]) == (4, 1, 1)
    assert found["accuracy"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert found["accuracy_by_degree"]["better"] == {"accuracy": 1, "pairs": 1}
    assert found["accuracy_by_degree"]["slightly"] == {"accuracy": 0, "pairs": 1}
    assert found["accuracy_by_degree"]["none"] == {"accuracy": 0.75, "pairs": 2}
    assert found["accuracy_by_degree"]["significantly"] == {"accuracy": None, "pairs": 0}
    assert found["accuracy_by_length"] == {
        "shorter_preferred": {"accuracy": 1, "pairs": 1},
        "longer_preferred": {"accuracy": 0.25, "pairs": 2},
        "same_length": {"accuracy": 1, "pairs": 1},
    }
    assert found["mean_chosen"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert found["mean_rejected"] == pytest.approx((0 + 2 + 0 + 1) / 4)
    assert found["annotator_agreement"] is None
    assert found["accuracy_where_repeated"] is None
    assert found["unsafe_recall"] is None


def test_length_quartiles_are_bounded_by_the_preferred_responses():
    lengths = [10, 20, 30, 40, 50, 60, 70, 80]
    judged = [group(ranking([1, 2], [length, 1])) for length in lengths]
    rewards = [[float(length > 20), 0.5] for length in lengths]
    found = reward_report(judged, rewards, margin="none")["accuracy_by_length_quartile"]
    assert [(part["shortest"], part["longest"]) for part in found] == [(10, 20), (30, 40), (50, 60), (70, 80)]
    assert [(part["accuracy"], part["pairs"]) for part in found] == [(0, 2), (1, 2), (1, 2), (1, 2)]


@pytest.mark.parametrize("lengths", [[5] * 9, [5], [1, 2], [1, 1, 1, 1, 9], list(range(1, 14))])
def test_length_quartiles_keep_equal_lengths_together_and_lose_no_pair(lengths: list[int]):
    judged = [group(ranking([1, 2], [length, 1])) for length in lengths]
    found = reward_report(judged, [[1.0, 0.0]] * len(lengths), margin="none")["accuracy_by_length_quartile"]
    assert sum(part["pairs"] for part in found) == len(lengths)
    assert len(found) <= 4
    assert all(one["longest"] < other["shortest"] for one, other in pairwise(found))
    if len(set(lengths)) == len(lengths) >= 4:
        assert max(part["pairs"] for part in found) - min(part["pairs"] for part in found) <= 1


def test_calibration_with_and_without_the_margin_by_hand():
    """Four pairs at a difference of 2, three of them right; the margin of 2 leaves no confidence at all."""
    judged = [group(ranking([1, 2], [1, 1], degree="better")) for _ in range(4)]
    rewards = [[2.0, 0.0]] * 3 + [[0.0, 2.0]]
    found = reward_report(judged, rewards, margin="large")
    sure = 1 / (1 + math.exp(-2))
    assert found["reliability"] == [{"confidence": pytest.approx(sure), "accuracy": 0.75, "pairs": 4}]
    assert found["ece"] == pytest.approx(sure - 0.75)
    assert found["ece_with_margin"] == pytest.approx(0.75 - 0.5)


def test_a_model_as_sure_as_people_are_is_calibrated():
    """80 of 100 prefer the first: log 4 is the right difference; accuracy looks at the side alone."""
    judged = [
        group(ranking([1, 2], [1, 1], probability=0.8)),
        group(ranking([2, 1], [1, 1], probability=0.2)),
    ]
    right = reward_report(judged, [[math.log(4), 0.0], [0.0, math.log(4)]], margin="none")
    assert right["accuracy"] == 1
    assert right["ece"] == pytest.approx(0)
    wrong = reward_report(judged, [[0.0, math.log(4)], [math.log(4), 0.0]], margin="none")
    assert wrong["accuracy"] == 0
    assert wrong["ece"] == pytest.approx(0.8 - 0.2)


def test_a_soft_label_of_one_half_is_a_tie():
    found = reward_report([group(ranking([1, 1], [1, 1], probability=0.5))], [[1.0, 0.0]], margin="none")
    assert (found["pairs"], found["ties"], found["accuracy"]) == (0, 1, None)


def test_people_agree_on_pairs_that_both_decide():
    """Of A < B < C: the second says the same but for a tie, the third turns it round, and saw another order."""
    same = group(
        ranking([3, 2, 1], [1, 2, 3]),
        ranking([2, 1, 1], [1, 2, 3]),
        ranking([3, 2, 1], [3, 2, 1]),
        places=[[0, 1, 2], [0, 1, 2], [2, 1, 0]],
    )
    assert sorted(annotator_agreements(same)) == [False] * 5 + [True] * 2
    alone = group(ranking([1, 2], [1, 1]))
    found = reward_report([same, alone], [[0.0, 1.0, 2.0], [0.0, 1.0]], margin="none")
    assert found["annotator_agreement"] == pytest.approx(2 / 7)
    assert found["annotator_comparisons"] == 7
    assert found["accuracy_where_repeated"] == pytest.approx((3 + 2 + 0) / 8)
    assert found["accuracy"] == pytest.approx((3 + 2 + 0 + 0) / 9)


def test_a_row_without_ranks_is_nobodys_second_opinion():
    two = group(ranking([1, 2], [1, 1]), ranking(None, [1, 1]))
    found = reward_report([two], [[1.0, 0.0]], margin="none")
    assert (found["annotator_agreement"], found["accuracy_where_repeated"]) == (None, None)


def test_recall_of_unsafe_responses_by_hand():
    judged = [
        group(ranking([1, 2], [1, 1], safe=[True, False])),
        group(ranking([1, 2, 3], [1, 1, 1], safe=[None, False, False])),
        group(ranking(None, [1, 1], safe=[True, None])),
    ]
    found = reward_report(judged, [[1.0, -1.0], [5.0, 0.5, -0.5], [-0.1, 3.0]], margin="none")
    assert (found["unsafe_labels"], found["safe_labels"]) == (3, 2)
    assert found["unsafe_recall"] == pytest.approx(2 / 3)
    assert found["safe_recall"] == pytest.approx(1 / 2)
