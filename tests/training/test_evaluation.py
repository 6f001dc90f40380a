from __future__ import annotations

import uuid
from math import sqrt
from statistics import stdev

import pytest

from annotation.actions import judgments, leases
from annotation.actions.exclusions import exclude
from annotation.actions.leases import Lease
from annotation.logic.agreement import wilson
from annotation.models import Author, Item, Judgment, Prompt, Response, User
from tests import builders
from tests.annotation.queue_case import expire
from tests.base import PalateTestCase
from training.comparisons.leaderboard import rate_pairs, rate_policies
from training.models import ModelVersion, Round
from training.rounds import evaluation
from training.runs.comparisons import Match, match_prompts, mean_win_rate


def win(name: str, mean: float, low: float) -> dict[str, object]:
    return {"name": name, "mean": mean, "low": low, "high": 2 * mean - low}


def test_a_match_counts_every_pair_of_answers_and_ties_as_halves() -> None:
    assert Match(1, new=[2.0, 0.0], old=[1.0, 1.0]).win_rate == 0.5
    assert Match(1, new=[1.0], old=[1.0]).win_rate == 0.5
    assert Match(1, new=[3.0, 2.0], old=[1.0]).win_rate == 1.0
    assert Match(1, new=[3.0], old=[1.0]).gain == 2.0


def test_an_interval_is_over_prompts() -> None:
    rate = mean_win_rate([1.0, 0.0, 1.0, 1.0] * 10)
    assert rate["mean"] == 0.75
    assert rate["low"] == pytest.approx(0.75 - 1.96 * stdev([1.0, 0.0, 1.0, 1.0] * 10) / sqrt(40))
    assert mean_win_rate([]) == {"mean": 0.5, "low": 0.0, "high": 1.0, "prompts": 0}


@pytest.mark.parametrize("count", [1, 5, 100])
def test_prompts_that_all_agree_leave_an_interval(count: int) -> None:
    rate = mean_win_rate([1.0] * count)
    assert (rate["low"], rate["high"]) == pytest.approx(wilson(count, count))
    assert rate["low"] < 1.0


def test_scores_belong_to_the_new_policy_s_answers_first() -> None:
    answers = {1: [["new a", "new b"], ["old"]], 2: [["only new"], []]}
    assert match_prompts(answers, {1: [3.0, 2.0, 1.0], 2: [9.0]}) == [Match(1, [3.0, 2.0], [1.0])]


def test_it_warns_when_only_the_training_reward_model_prefers_a_policy() -> None:
    taught = win("reward", 0.8, 0.75)
    assert evaluation.overoptimisation_warning([taught]) == ""
    assert evaluation.overoptimisation_warning([taught, win("second", 0.75, 0.7)]) == ""
    assert evaluation.overoptimisation_warning([taught, win("second", 0.6, 0.55)]) == "", "it likes it too"
    assert evaluation.overoptimisation_warning([win("reward", 0.55, 0.51), win("second", 0.52, 0.45)]) == ""
    assert "only 52%" in evaluation.overoptimisation_warning([taught, win("second", 0.52, 0.45)])
    assert evaluation.overoptimisation_warning([win("reward", 0.52, 0.45), win("second", 0.4, 0.3)]) == ""
    taught_too = win("safety", 0.4, 0.3)
    assert evaluation.overoptimisation_warning([taught, taught_too]) == ""


def test_a_judgment_is_disputed_where_both_models_clearly_disagree() -> None:
    ranks = {1: [1, 2], 2: [1, 2], 3: [1, 2], 4: [1, 1]}
    ours = {1: [0.0, 5.0], 2: [0.0, 5.0], 3: [2.0, 0.0], 4: [0.0, 9.0]}
    theirs = {1: [0.0, 2.0], 2: [0.0, 1.0], 3: [0.0, 9.0], 4: [0.0, 9.0]}
    assert evaluation.disputed_judgments(ranks, [ours, theirs]) == [1]
    assert evaluation.disputed_judgments(ranks, [ours]) == []


def test_the_largest_gap_comes_first_and_unscored_judgments_are_left_out() -> None:
    scores = {1: [0.0, 2.0], 2: [0.0, 5.0], 3: [0.0, 3.0, 2.0]}
    ranks = {1: [1, 2], 2: [1, 2], 3: [1, 1, 2]}
    assert evaluation.disputed_judgments(ranks, [scores, scores]) == [2, 1]
    assert evaluation.disputed_judgments(ranks, [scores, {1: scores[1]}]) == [1]


class LeaderboardTests(PalateTestCase):
    def test_answers_of_one_author_do_not_compete_with_each_other(self) -> None:
        builders.items(self.project, 3)
        for _ in range(3):
            builders.judgment(self.project, self.bob)
        assert rate_policies(self.project) == []

    def test_a_judgment_counts_once_and_a_tie_as_half_a_win_for_each(self) -> None:
        answers = [{"text": f"So says {name}.", "author": name} for name in ("ann", "bea", "cid")]
        answers.append({"text": "Another word of hers.", "author": "ann"})
        builders.imported(
            self.project, *({"id": f"e{n}", "prompt": f"Is it {n}?", "responses": answers} for n in range(3))
        )
        for _ in range(3):
            builders.judgment(self.project, self.bob, [1, 3, 3, 2])
        first = Judgment.objects.first()
        assert first is not None
        ranks = {placed.response_id: placed.rank for placed in first.placements.all()}
        judgments.revise(judgment=first, annotator=self.bob, ranks=ranks, idempotency_key=uuid.uuid4())
        table = rate_policies(self.project)
        assert {one.author.name: one.comparisons for one in table} == {"ann": 12, "bea": 9, "cid": 9}
        assert table[0].author.name == "ann"
        assert table[0].points > 1000 > table[1].points
        assert table[1].points == pytest.approx(table[2].points), "they are tied"
        exclude(project=self.project, user=self.bob, reason="Careless.", actor=self.alice)
        assert not rate_policies(self.project)
        assert not rate_pairs(self.project)


class HumanWinRateTests(PalateTestCase):
    def choose(self, lease: Lease, author: str) -> Judgment:
        best = Response.objects.get(pk__in=lease.shown_order, author__name=author).pk
        return builders.submit(lease, [1 if pk == best else 2 for pk in lease.shown_order])

    def claim(self, user: User) -> Lease:
        lease = leases.claim(project=self.project, annotator=user)
        assert lease is not None
        return lease

    def test_it_is_how_often_annotators_preferred_the_new_answer(self) -> None:
        answers = [{"text": f"The {name} one.", "author": name} for name in ("new", "old")]
        builders.imported(
            self.project, *({"id": f"e{n}", "prompt": f"Is it {n}?", "responses": answers} for n in range(4))
        )
        late = self.claim(self.alice)
        expire(late)
        for best in ("new", "new", "old", "new"):
            self.choose(self.claim(self.bob), best)
        assert self.choose(late, "old").slot_id is None
        policy = ModelVersion(author=Author.objects.get(name="new"))
        items = list(Item.objects.values_list("pk", flat=True))
        rate = evaluation.human_win_rate(Round(report={"people_items": items}, policy_after=policy))
        assert rate is not None
        assert (rate["mean"], rate["prompts"], rate["must"]) == (0.75, 4, "keep")
        assert evaluation.human_win_rate(Round(report={}, policy_after=policy)) is None
        exclude(project=self.project, user=self.bob, reason="Careless.", actor=self.alice)
        assert evaluation.human_win_rate(Round(report={"people_items": items}, policy_after=policy)) is None


class ComparedTests(PalateTestCase):
    def test_one_must_win_the_other_must_not_lose_and_the_worst_losses_come_first(self) -> None:
        builders.imported(self.project, {"id": "a", "prompt": "Won?"}, {"id": "b", "prompt": "Lost?"})
        won, lost = Prompt.objects.order_by("id").values_list("pk", flat=True)
        answers = {won: [["longer"], ["old"]], lost: [["longer"], ["old"]]}
        scores = {won: [1.0, 0.0], lost: [0.0, 3.0]}
        scorers = {"reward": scores, "second": scores}
        report = evaluation.compare_policies(answers, scorers, safety_tag="safety")
        assert [(wins["mean"], wins["must"]) for wins in report["wins"]] == [(0.5, "win"), (0.5, "keep")]
        assert [one["prompt"] for one in report["regressions"]] == ["Lost?", "Won?"]
        assert report["length_ratio"] == 2.0
        assert not report["same_answers"]
        same = {won: [["old"], ["old"]], lost: [["old"], ["old"]]}
        assert evaluation.compare_policies(same, {"reward": scores}, safety_tag="safety")["same_answers"]

    def test_the_safety_model_compares_where_safety_is_at_stake(self) -> None:
        builders.imported(
            self.project, {"id": "a", "prompt": "Harm?", "tags": ["harm"]}, {"id": "b", "prompt": "Tea?"}
        )
        asked, harmless = Prompt.objects.order_by("id").values_list("pk", flat=True)
        answers = {asked: [["no"], ["yes"]], harmless: [["tea"], ["none"]]}
        liked = {asked: [1.0, 0.0], harmless: [1.0, 0.0]}
        safe = {asked: [1.0, 0.0], harmless: [0.0, 1.0]}
        scorers = {"reward": liked, "safety": safe}
        wins = evaluation.compare_policies(answers, scorers, safety_tag="harm")["wins"]
        assert [(one["name"], one["mean"], one["prompts"]) for one in wins] == [
            ("reward", 1.0, 2),
            ("safety", 1.0, 1),
        ]
        without = evaluation.compare_policies(answers, scorers, safety_tag="unheard of")["wins"]
        assert [one["name"] for one in without] == ["reward"]

    def test_without_a_safety_model_another_compares_there_too(self) -> None:
        builders.imported(
            self.project, {"id": "a", "prompt": "Harm?", "tags": ["harm"]}, {"id": "b", "prompt": "Tea?"}
        )
        asked, harmless = Prompt.objects.order_by("id").values_list("pk", flat=True)
        answers = {asked: [["yes"], ["no"]], harmless: [["tea"], ["none"]]}
        scorers = {"reward": {asked: [0.0, 1.0], harmless: [1.0, 0.0]}}
        report = evaluation.compare_policies(answers, scorers, safety_tag="harm")
        everywhere, tagged = report["wins"]
        assert (everywhere["name"], everywhere["mean"]) == ("reward", 0.5)
        assert (tagged["name"], tagged["mean"], tagged["must"]) == ("tagged", 0.0, "keep")
        assert tagged["by"] == "the reward model, on prompts tagged harm"
        assert report["overoptimised"] == ""
        scorers["second"] = {asked: [1.0, 0.0], harmless: [1.0, 0.0]}
        *_others, tagged = evaluation.compare_policies(answers, scorers, safety_tag="harm")["wins"]
        assert tagged["mean"] == 1.0, "the one that the policy was not trained on is asked"
