"""The API of comparisons of two policies, and of the leaderboard."""

from __future__ import annotations

from typing import Any
from unittest import mock

from annotation.models import Item, Response
from tests import builders
from tests.annotation.api.base import ApiTestCase
from tests.training.test_comparisons import ComparisonCase
from training.api import comparisons
from training.models import ModelVersion, Run
from training.registry.actions import add_model

GAINS = [2.0, -1.0, 0.0, 1.0, -3.0]


class ComparisonApiTests(ApiTestCase, ComparisonCase):
    @property
    def path(self) -> str:
        return f"projects/{self.project.slug}/comparisons/{self.new.pk}/{self.old.pk}/"

    @property
    def reverse_path(self) -> str:
        return f"projects/{self.project.slug}/comparisons/{self.old.pk}/{self.new.pk}/"

    def prompts(self, query: str = "") -> list[dict[str, Any]]:
        return [row for page in self.pages(f"{self.path}prompts/{query}", self.dana) for row in page]

    def test_it_says_what_is_missing_and_starts_it(self) -> None:
        found = self.get(self.path, self.dana).json()
        assert (found["policy"], found["baseline"]) == ("new", "old")
        assert (found["judges"], found["missing"], found["open_runs"]) == ([], "answers", [])
        self.refused(self.post(self.path, self.alice, {}), 400, "prompts", "no prompts to answer")
        builders.imported(self.project, {"id": "a", "prompt": "And you?"})
        runs = self.post(self.path, self.alice, {}).json()["runs"]
        assert [run.kind for run in Run.objects.filter(pk__in=runs)] == ["generate", "generate"]
        found = self.get(self.path, self.dana).json()
        assert (found["missing"], sorted(found["open_runs"])) == ("", sorted(runs))
        self.refused(self.post(self.path, self.alice, {}), 400, "runs", "wait until it is done")

    def test_a_scorer_is_a_reward_model_of_the_project(self) -> None:
        elsewhere = builders.project(self.charlie, "Other")
        foreign = add_model(project=elsewhere, kind="reward", name="r", location="hub:some/r@main")
        for pk in (self.old.pk, foreign.pk, 2**70):
            self.refused(self.post(self.path, self.alice, {"scorer": pk}), 400, "scorer", "reward model")
        own = add_model(project=self.project, kind="reward", name="r", location="hub:some/r@main")
        self.refused(
            self.post(self.path, self.alice, {"scorer": own.pk}), 400, "answers", "not answered the same"
        )
        assert not Run.objects.exists()

    def test_win_rates_of_reward_models_and_people_in_both_directions(self) -> None:
        comparison = self.compare(GAINS, [["web"], ["web"], [], [], []])
        self.judge("p0", prefers_new=True)
        found = self.get(self.path, self.dana).json()
        by_model, by_people = found["judges"]
        assert (by_model["judge"], by_model["scorer"]) == ("judge", comparison.scorer_id)
        assert (by_model["all"]["mean"], by_model["all"]["prompts"]) == (0.5, 5)
        assert by_model["all"]["low"] < 0.5 < by_model["all"]["high"]
        assert [(part["label"], part["mean"], part["prompts"]) for part in by_model["tags"]] == [
            ("web", 0.5, 2)
        ]
        assert [part["label"] for part in by_model["lengths"]] == ["Longer by more than a quarter"]
        assert (by_people["judge"], by_people["scorer"], by_people["all"]["mean"]) == ("people", None, 1.0)
        other = self.get(self.reverse_path, self.dana).json()["judges"]
        assert [judge["all"]["mean"] for judge in other] == [0.5, 0.0]
        assert (found["missing"], found["open_runs"]) == ("", [])

    def test_prompts_are_filtered_and_ordered_as_on_the_page(self) -> None:
        comparison = self.compare(GAINS, [["web"], ["web"], [], [], []])
        self.project.asks_flags = True
        self.project.save()
        self.judge("p0", prefers_new=False, flags=("harmful_advice",))

        def ids(query: str = "") -> list[str]:
            return [row["prompt_id"] for row in self.prompts(query)]

        with mock.patch.object(comparisons, "PAGE_SIZE", 2):
            assert ids() == ["p4", "p1", "p2", "p3", "p0"]
            assert ids("?order=gains") == ["p0", "p3", "p2", "p1", "p4"]
            pages = self.get(f"{self.path}prompts/?order=gains", self.dana).json()
            after = self.get(pages["next"].removeprefix("http://testserver/api/v1/"), self.dana).json()
            back = self.get(after["previous"].removeprefix("http://testserver/api/v1/"), self.dana).json()
            assert back["results"] == pages["results"]
        assert ids("?tag=web") == ["p1", "p0"]
        assert ids("?winner=policy") == ["p3", "p0"]
        assert ids("?winner=tie") == ["p2"]
        assert ids("?disputed=true") == ids("?flagged=true") == ["p0"]
        assert ids("?disputed=false&by=people") == ["p0"]
        assert ids(f"?by={comparison.scorer_id}&winner=baseline") == ["p4", "p1"]
        splits = [row["split"] for row in self.prompts()]
        assert len(ids("?split=held_out")) == splits.count("held_out")
        first = self.prompts("?order=gains")[0]
        assert (first["gain"], first["people"]) == (2.0, {"share": 0.0, "judgments": 1})
        assert [(one["text"], one["score"]) for one in first["policy"]] == [
            ("New answer 0, twice as long.", 2.0)
        ]
        assert [(one["text"], one["score"]) for one in first["baseline"]] == [("Old answer 0.", 0.0)]

    def test_what_is_wrong_is_refused_by_name(self) -> None:
        self.refused(self.get(f"{self.path}prompts/?disputed=true", self.dana), 400, "disputed", "scored")
        self.refused(self.get(f"{self.path}prompts/?winner=tie", self.dana), 400, "winner", "Nobody")
        self.compare(GAINS)
        for name, value in (
            ("by", "999"),
            ("order", "best"),
            ("winner", "nobody"),
            ("split", "test"),
            ("disputed", "1"),
            ("flagged", "yes"),
            ("tag", "%00"),
            ("cursor", "bmV4dCB4"),
            ("after", "0.5~1"),
        ):
            self.refused(self.get(f"{self.path}prompts/?{name}={value}", self.dana), 400, name)

    def test_two_answers_are_put_into_the_queue_once(self) -> None:
        self.compare(GAINS)
        first = self.prompts()[0]
        pair = [first["policy"][0]["response"], first["baseline"][0]["response"]]
        queue = f"{self.path}queue/"
        item = self.post(queue, self.alice, {"responses": pair}).json()["item"]
        assert set(Item.objects.get(pk=item).responses.values_list("pk", flat=True)) == set(pair)
        assert self.post(queue, self.alice, {"responses": pair}).json()["item"] == item
        other = Response.objects.exclude(prompt__external_id=first["prompt_id"]).latest("pk").pk
        for wrong in ([pair[0], other], [pair[0], pair[0]], [pair[0]], ["x", 1], []):
            self.refused(self.post(queue, self.alice, {"responses": wrong}), 400, "responses")
        assert Item.objects.count() == 1

    def test_models_that_cannot_be_compared_are_not_there(self) -> None:
        reward = add_model(project=self.project, kind="reward", name="r", location="hub:some/r@main")
        elsewhere = add_model(
            project=builders.project(self.charlie, "Other"),
            kind="policy",
            name="p",
            location="hub:some/p@main",
        )
        for policy, baseline in (
            (self.new.pk, self.new.pk),
            (self.new.pk, reward.pk),
            (elsewhere.pk, self.old.pk),
            (self.new.pk, 10**30),
        ):
            path = f"projects/{self.project.slug}/comparisons/{policy}/{baseline}/"
            assert self.get(path, self.alice).status_code == 404, path
            assert self.post(path, self.alice, {}).status_code == 404, path
            assert self.get(f"{path}prompts/", self.alice).status_code == 404, path
        assert ModelVersion.objects.filter(kind="policy").count() == 3

    def test_the_leaderboard_has_ratings_and_pairs_by_filter(self) -> None:
        self.compare(GAINS, [["web"], [], [], [], []])
        self.judge("p0", prefers_new=True)
        board = f"projects/{self.project.slug}/leaderboard/"
        assert [row["author"] for row in self.get(board, self.dana).json()] == ["new", "old"]
        assert self.get(f"{board}?tag=nothing", self.dana).json() == []
        rows = self.get(f"{board}pairs/", self.dana).json()
        found = {row["judge"]: (row["policy"], row["baseline"], row["mean"], row["prompts"]) for row in rows}
        assert found["judge"] == ("new", "old", 0.5, 5)
        assert found["people"] in (("new", "old", 1.0, 1), ("old", "new", 0.0, 1))
        (row,) = [
            one for one in self.get(f"{board}pairs/?tag=web", self.dana).json() if one["judge"] == "judge"
        ]
        assert (row["mean"], row["prompts"]) == (1.0, 1)
