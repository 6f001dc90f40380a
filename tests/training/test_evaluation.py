from __future__ import annotations

import pytest

from tests import builders
from tests.base import PalateTestCase
from training import evaluation
from training.evaluation import Match


def win(name: str, mean: float, low: float) -> dict[str, object]:
    return {"name": name, "by": name, "mean": mean, "low": low, "high": 2 * mean - low}


def test_a_match_counts_every_pair_of_answers_and_ties_as_halves() -> None:
    assert Match(1, new=[2.0, 0.0], old=[1.0, 1.0]).share == 0.5
    assert Match(1, new=[1.0], old=[1.0]).share == 0.5
    assert Match(1, new=[3.0, 2.0], old=[1.0]).share == 1.0
    assert Match(1, new=[3.0], old=[1.0]).gain == 2.0


def test_an_interval_is_over_prompts() -> None:
    rate = evaluation.win_rate([1.0, 0.0, 1.0, 1.0])
    assert rate["mean"] == 0.75
    assert rate["low"] == pytest.approx(0.75 - 1.96 * 0.5 / 2)
    assert rate["high"] == 1.0
    assert evaluation.win_rate([1.0]) == {"mean": 1.0, "low": 0.0, "high": 1.0, "prompts": 1}


def test_scores_belong_to_the_new_policy_s_answers_first() -> None:
    answers = {1: [["new a", "new b"], ["old"]], 2: [["only new"], []]}
    assert evaluation.matches(answers, {1: [3.0, 2.0, 1.0], 2: [9.0]}) == [Match(1, [3.0, 2.0], [1.0])]


def test_it_says_when_only_the_one_that_taught_it_likes_a_policy() -> None:
    taught = win("the reward model", 0.8, 0.75)
    assert evaluation.overoptimised([taught]) == ""
    assert evaluation.overoptimised([taught, win("another", 0.75, 0.7)]) == ""
    assert "only 52%" in evaluation.overoptimised([taught, win("another", 0.52, 0.45)])
    assert evaluation.overoptimised([win("the reward model", 0.52, 0.45), win("another", 0.4, 0.3)]) == ""


def test_a_judgment_is_odd_where_both_models_are_far_on_the_other_side() -> None:
    ranks = {1: [1, 2], 2: [1, 2], 3: [1, 2], 4: [1, 1]}
    ours = {1: [0.0, 5.0], 2: [0.0, 5.0], 3: [2.0, 0.0], 4: [0.0, 9.0]}
    theirs = {1: [0.0, 2.0], 2: [0.0, 1.0], 3: [0.0, 9.0], 4: [0.0, 9.0]}
    assert evaluation.odd_judgments(ranks, [ours, theirs]) == [1]
    assert evaluation.odd_judgments(ranks, [ours]) == []


class LeaderboardTests(PalateTestCase):
    def test_answers_of_one_author_do_not_compete_with_each_other(self) -> None:
        builders.items(self.project, 3)
        for _ in range(3):
            builders.judgment(self.project, self.bob)
        assert evaluation.leaderboard(self.project) == []
