"""Comparisons of two policies: what rounds store of them, and the page and its files."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.urls import reverse

from annotation.actions import judgments, leases
from annotation.actions.queue import ItemSpec, enqueue
from annotation.logic.judgment_input import ResponseRatings
from annotation.models import Item, Prompt, Response
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.training.comparison_helpers import compare
from tests.training.round_helpers import judge_items, make_loop, play
from training.comparisons.pairs import Pair
from training.comparisons.prompts import Search, read_all, read_page, read_place, write_place
from training.models import Comparison, ModelVersion, Round, Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.runs.actions import claim_run, finish_run
from training.runs.outputs import save_output, store_output


class ComparisonCase(AccessTestCase):
    """Two policies, old and new."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        artifacts = override_settings(ARTIFACTS=Path(folder.name))
        artifacts.enable()
        self.addCleanup(artifacts.disable)
        self.old, self.new = (self.policy(name) for name in ("old", "new"))
        self.pair = Pair(policy=self.new, baseline=self.old)

    def policy(self, name: str) -> ModelVersion:
        return add_model(project=self.project, kind="policy", name=name, location=f"hub:some/{name}@main")

    def compare(self, gains: list[float], tags: list[list[str]] | None = None) -> Comparison:
        return compare(self.pair, self.alice, gains, tags)

    def judge(self, external_id: str, *, prefers_new: bool, flags: tuple[str, ...] = ()) -> None:
        """A judgment of both answers to a prompt; the flags are of the new one."""
        prompt = Prompt.objects.get(external_id=external_id, project=self.project)
        new = Response.objects.get(prompt=prompt, author=self.new.author)
        old = Response.objects.get(prompt=prompt, author=self.old.author)
        enqueue(project=self.project, specs=[ItemSpec(prompt.pk, [old.pk, new.pk])], priority=100)
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        assert set(lease.shown_order) == {old.pk, new.pk}
        judgments.submit(
            lease=lease,
            ranks={new.pk: 1 if prefers_new else 2, old.pk: 2 if prefers_new else 1},
            degree="better",
            idempotency_key=uuid.uuid4(),
            ratings={new.pk: ResponseRatings(flags=flags)} if flags else {},
        )

    def found(self, **search: Any) -> list[str]:
        comparison = search.pop("comparison", None)
        rows = read_all(self.pair, Search(comparison=comparison, **search))
        return [row.prompt.external_id for row in rows]

    def url(self, name: str = "model-compare", **params: Any) -> str:
        query = "&".join(f"{key}={value}" for key, value in params.items())
        return f"{reverse(name, args=[self.project.slug])}?{query}"

    @property
    def models(self) -> dict[str, int]:
        return {"a": self.old.pk, "b": self.new.pk}


class PromptListTests(ComparisonCase):
    def test_the_largest_loss_comes_first_whichever_way_round_the_two_were_scored(self) -> None:
        comparison = self.compare([0.5, -2.0, 0.0, 1.5, -0.1])
        assert self.found(comparison=comparison) == ["p1", "p4", "p2", "p0", "p3"]
        assert self.found(comparison=comparison, order="gains") == ["p3", "p0", "p2", "p4", "p1"]
        self.pair = Pair(policy=self.old, baseline=self.new)
        assert self.found(comparison=comparison) == ["p3", "p0", "p2", "p4", "p1"]
        (first, *_others) = read_page(self.pair, Search(comparison=comparison), 2).rows
        assert first.gain == -1.5
        assert [answer.score for answer in first.baseline] == [1.5]

    def test_pages_meet_without_gaps_in_both_directions_also_among_equals(self) -> None:
        comparison = self.compare([0.0, -1.0, 0.0, 0.0, 2.0, 0.0, 0.0])
        for order in ("losses", "gains"):
            search = Search(comparison=comparison, order=order)
            pages, after = [], None
            while True:
                page = read_page(self.pair, search, 3, after=after)
                pages.append(page)
                if not page.after:
                    break
                after = read_place(page.after)
            names = [[row.prompt.external_id for row in page.rows] for page in pages]
            assert [len(page) for page in names] == [3, 3, 1]
            assert [name for page in names for name in page] == self.found(comparison=comparison, order=order)
            back = read_page(self.pair, search, 3, before=read_place(pages[2].before))
            assert [row.prompt.external_id for row in back.rows] == names[1]
            assert back.before
            assert not read_page(self.pair, search, 3, before=read_place(back.before)).before
            assert not pages[0].before

    def test_what_is_no_place_is_none(self) -> None:
        assert read_place(write_place((-0.1, 7))) == (-0.1, 7)
        for text in ("", "nan~1", "inf~2", "1~-1", "1", "x~y", f"1~{2**63}"):
            assert read_place(text) is None, text

    def test_filters(self) -> None:
        comparison = self.compare([0.5, -2.0, 0.0, 1.5], [["a"], ["a", "b"], [], ["b"]])
        assert self.found(comparison=comparison, tag="a") == ["p1", "p0"]
        assert self.found(comparison=comparison, winner="policy") == ["p0", "p3"]
        assert self.found(comparison=comparison, winner="baseline") == ["p1"]
        assert self.found(comparison=comparison, winner="tie") == ["p2"]
        self.judge("p0", prefers_new=False)
        self.judge("p3", prefers_new=True)
        assert self.found(comparison=comparison, disputed=True) == ["p0"]
        assert self.found(comparison=comparison, by_people=True, disputed=True) == ["p0"]
        splits = dict(Prompt.objects.values_list("external_id", "split"))
        expected = [name for name in ("p1", "p2", "p0", "p3") if splits[name] == "train"]
        assert self.found(comparison=comparison, split="train") == expected

    def test_people_order_the_prompts_that_they_judged(self) -> None:
        self.compare([0.5, 0.1, 0.2])
        self.judge("p0", prefers_new=True)
        self.judge("p2", prefers_new=False)
        assert self.found(by_people=True) == ["p2", "p0"]
        (first, _second) = read_page(self.pair, Search(by_people=True), 5).rows
        assert first.people == (0.0, 1)
        assert self.found() == ["p0", "p1", "p2"], "without a judge, all that both answered, in order"

    def test_flags_that_do_harm_are_found(self) -> None:
        self.project.asks_flags = True
        self.project.save()
        comparison = self.compare([0.5, 0.1, 0.2])
        self.judge("p1", prefers_new=False, flags=("violent",))
        self.judge("p2", prefers_new=True, flags=("opinion",))
        assert self.found(comparison=comparison, flagged=True) == ["p1"]


class PageTests(ComparisonCase):
    def test_leads_act_and_reviewers_read(self) -> None:
        self.compare([0.5, -2.0])
        pair = {"a": str(self.old.pk), "b": str(self.new.pk)}
        self.check(Endpoint("model-compare", get=200, reviewer_get=200))
        self.check(Endpoint("leaderboard", get=200, reviewer_get=200))
        self.check(Endpoint("model-compare-start", post=302, data=pair))
        self.check(Endpoint("model-compare-queue", post=302, data=pair))
        self.check(Endpoint("model-compare-csv", get=404, reviewer_get=404))
        self.sign_in(self.dana)
        assert self.client.get(self.url("model-compare-csv", **self.models)).status_code == 200
        page = self.client.get(self.url(**self.models))
        self.assertNotContains(page, "Have people judge this pair")

    def test_models_of_another_project_are_no_pair(self) -> None:
        other = builders.project(self.alice, "Other")
        theirs = add_model(project=other, kind="policy", name="theirs", location="hub:x/y@main")
        self.sign_in(self.alice)
        for method, name in (
            (self.client.get, "model-compare-csv"),
            (self.client.post, "model-compare-start"),
            (self.client.post, "model-compare-queue"),
        ):
            url = reverse(name, args=[self.project.slug])
            assert method(url, {"a": self.old.pk, "b": theirs.pk}).status_code == 404
            assert method(url, {"a": self.old.pk, "b": self.old.pk}).status_code == 404

    def test_a_link_shows_everybody_the_same(self) -> None:
        self.compare([0.5, -2.0, 0.0, 1.5], [["a"], ["a", "b"], [], ["b"]])
        url = self.url(**self.models, tag="b", winner="policy", order="gains", diff=1)
        shown = []
        for who in (self.alice, self.dana):
            self.sign_in(who)
            page = self.client.get(url)
            shown.append([row.prompt.external_id for row in page.context["rows"]])
            assert page.context["shows_differences"]
        assert shown == [["p3"], ["p3"]]

    def test_it_says_of_which_prompts_a_win_rate_is(self) -> None:
        self.compare([0.5, -2.0, 0.0, 1.5], [["a"], ["a", "b"], [], ["b"]])
        self.judge("p0", prefers_new=True)
        self.judge("p1", prefers_new=True)
        self.sign_in(self.alice)
        page = self.client.get(self.url(**self.models))
        judges = page.context["judges"]
        assert [(one.rate.label, one.rate.share.value, one.rate.share.n) for one in judges] == [
            ("judge", 0.625, 4),
            ("People", 1.0, 2),
        ]
        by_tag = {one.label: (one.share.value, one.share.n) for one in page.context["by_tag"]}
        assert by_tag == {"a": (0.5, 2), "b": (0.5, 2)}
        (by_length,) = page.context["by_length"]
        assert (by_length.label, by_length.share.n) == ("Longer by more than a quarter", 4)
        assert judges[1].rate.share.low == pytest.approx(0.342, abs=1e-3), "two prompts tell little"
        people = self.client.get(self.url(**self.models, by="people"))
        assert [one.share.value for one in people.context["by_tag"]] == [1.0, 1.0]
        swapped = self.client.get(self.url(a=self.new.pk, b=self.old.pk))
        assert [one.rate.share.value for one in swapped.context["judges"]] == [0.375, 0.0]
        assert [one.label for one in swapped.context["by_length"]] == ["Shorter by more than a fifth"]

    def test_its_queries_do_not_grow_with_the_prompts(self) -> None:
        self.compare([n / 10 for n in range(-5, 7)], [["a"]] * 12)
        self.sign_in(self.alice)
        self.client.get(self.url(**self.models))
        # user; membership; policies; comparisons; counts; people's and the judge's figures; the list; prompts, scores, votes,
        # answers
        with self.assertNumQueries(12):
            page = self.client.get(self.url(**self.models))
        assert len(page.context["rows"]) == 10

    def test_the_csv_has_every_prompt_of_the_search(self) -> None:
        self.compare([n / 10 for n in range(-5, 7)], [["a"]] * 12)
        self.judge("p0", prefers_new=True)
        self.sign_in(self.alice)
        response = self.client.get(self.url("model-compare-csv", **self.models, winner="baseline"))
        text = b"".join(response).decode("utf-8-sig")  # type: ignore[arg-type]
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["external_id"] for row in rows] == ["p0", "p1", "p2", "p3", "p4"]
        first = rows[0]
        assert json.loads(first["second_answers"]) == ["New answer 0, twice as long."]
        assert json.loads(first["first_answers"]) == ["Old answer 0."]
        assert (first["gain"], first["people_share"], first["people_judgments"]) == ("-0.5", "1.0", "1")
        assert (first["first_model"], first["second_model"]) == ("old", "new")

    def test_no_text_of_the_csv_is_a_formula(self) -> None:
        self.compare([-0.5])
        Prompt.objects.filter(project=self.project).update(external_id="=1+1")
        ModelVersion.objects.filter(name="old").update(name="@SUM(1)")
        self.sign_in(self.alice)
        response = self.client.get(self.url("model-compare-csv", **self.models))
        text = b"".join(response).decode("utf-8-sig")  # type: ignore[arg-type]
        (row,) = csv.DictReader(io.StringIO(text))
        assert (row["external_id"], row["first_model"], row["gain"]) == ("'=1+1", "'@SUM(1)", "-0.5")

    def test_a_pair_goes_into_the_queue_once(self) -> None:
        self.compare([0.5])
        answers = list(Response.objects.order_by("pk").values_list("pk", flat=True))
        self.sign_in(self.alice)
        url = self.url("model-compare-queue")
        before = Item.objects.count()
        for _ in range(2):
            sent = self.client.post(url, {**self.models, "response": answers, "here": "tag=a"})
            self.assertRedirects(sent, self.url(tag="a", **self.models))
        item = Item.objects.latest("pk")
        assert Item.objects.count() == before + 1
        assert set(item.candidates.values_list("response", flat=True)) == set(answers)
        for wrong in ([answers[0]], [answers[0], answers[0]], [answers[0], 10**9], ["x", "y"]):
            refused = self.client.post(url, {**self.models, "response": wrong}, follow=True)
            self.assertContains(refused, "one answer of each model")
        assert Item.objects.count() == before + 1


class LeaderboardTests(ComparisonCase):
    def setUp(self) -> None:
        super().setUp()
        self.compare([0.5, -2.0, 0.0, 1.5], [["a"], ["a", "b"], [], ["b"]])
        for n, prefers_new in enumerate((True, True, False)):
            self.judge(f"p{n}", prefers_new=prefers_new)
        self.sign_in(self.alice)

    def page(self, **params: str) -> Any:
        return self.client.get(reverse("leaderboard", args=[self.project.slug]), params)

    def rates(self, page: Any) -> dict[tuple[str, str], list[tuple[str, float, int]]]:
        return {
            (author.name, cell.column.name): [
                (judge, round(share.value, 3), share.n) for judge, share in cell.rates
            ]
            for author, cells in page.context["table"]
            for cell in cells
            if cell.rates
        }

    def test_models_are_ranked_by_people_with_the_reward_models_beside_them(self) -> None:
        page = self.page()
        (first, model), (second, _other) = page.context["ratings"]
        assert (first.author, model, second.author) == (self.new.author, self.new, self.old.author)
        assert (first.comparisons, second.comparisons) == (3, 3)
        assert first.points + second.points == pytest.approx(2000)
        assert first.low < 1000 < first.high, "three comparisons tell little"
        assert self.rates(page) == {
            ("new", "old"): [("", 0.667, 3), ("judge", 0.625, 4)],
            ("old", "new"): [("", 0.333, 3), ("judge", 0.375, 4)],
        }
        for row, column in ((self.new, self.old), (self.old, self.new)):
            self.assertContains(
                page, f'{reverse("model-compare", args=[self.project.slug])}?a={column.pk}&amp;b={row.pk}"'
            )

    def test_a_cell_says_what_the_page_that_it_opens_says(self) -> None:
        shown = self.rates(self.page())["new", "old"]
        judges = self.client.get(self.url(**self.models)).context["judges"]
        assert sorted((round(one.rate.share.value, 3), one.rate.share.n) for one in judges) == sorted(
            (rate, n) for _judge, rate, n in shown
        )

    def test_a_tag_narrows_people_and_reward_models(self) -> None:
        assert self.rates(self.page(tag="b"))["new", "old"] == [("", 1.0, 1), ("judge", 0.5, 2)]
        best = self.page(tag="b").context["ratings"][0][0]
        assert best.comparisons == 1
        assert best.low < 1000 < best.points < best.high, "to win the only comparison is no certainty"
        assert self.page(tag="none").context["table"] == []

    def test_its_queries_do_not_grow_with_the_judgments(self) -> None:
        self.page()
        # user; membership; counts; ratings; their authors; pairs by people, by reward models, and these' shares; models; the
        # four of the filter form's choices
        with self.assertNumQueries(12):
            self.page()


class MissingTests(ComparisonCase):
    def finish(self, run: Run, lines: list[dict[str, Any]], name: str) -> None:
        claimed = claim_run(run.pk)
        assert claimed is not None
        output = claimed.folder / "output"
        output.mkdir(parents=True)
        (output / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        store_output(claimed)
        finish_run(claimed, state=Run.State.DONE, result=save_output(claimed) | {"seconds": 30.0})

    def test_what_is_missing_is_made_by_runs_and_then_shown(self) -> None:
        builders.imported(self.project, *({"id": f"p{n}", "prompt": f"Question {n}?"} for n in range(3)))
        self.sign_in(self.alice)
        page = self.client.get(self.url(**self.models))
        self.assertContains(page, "Generate answers")
        self.assertContains(page, "How long it takes is not known")
        start = self.url("model-compare-start")
        self.client.post(start, {**self.models, "missing": "answers"})
        runs = list(Run.objects.filter(kind="generate").order_by("pk"))
        assert [run.model for run in runs] == [self.new, self.old]
        assert runs[0].inputs["prompt_ids"] == runs[1].inputs["prompt_ids"] != []
        page = self.client.get(self.url(**self.models))
        assert page.context["open_runs"] == runs[::-1]
        self.assertNotContains(page, "Generate answers</button>")
        self.assertContains(
            self.client.post(start, {**self.models, "missing": "answers"}, follow=True),
            "wait until it is done",
        )
        assert Run.objects.count() == 2
        prompts = runs[0].inputs["prompt_ids"]
        common = {"temperature": 1.0, "seed": 1, "token_ids": None, "finished": True}
        for run, text in zip(runs, ("Of the new policy", "Of the old one"), strict=True):
            self.finish(run, [{"id": pk, "text": text, **common} for pk in prompts], "responses.jsonl")
        page = self.client.get(self.url(**self.models))
        self.assertContains(page, "The project has no reward model yet.")
        assert [row.prompt.pk for row in page.context["rows"]] == sorted(prompts)
        csv_lines = b"".join(  # type: ignore[arg-type]
            self.client.get(
                f"{reverse('model-compare-csv', args=[self.project.slug])}?{page.context['link']}"
            )
        ).splitlines()
        assert len(csv_lines) == 1 + len(prompts), "without a judge it has what the page has"
        scorer = add_model(project=self.project, kind="reward", name="judge", location="hub:some/judge@main")
        self.assertContains(
            self.client.post(start, {**self.models, "missing": "scores"}, follow=True),
            "Choose a reward model",
        )
        self.client.post(start, {**self.models, "missing": "scores", "scorer": scorer.pk})
        evaluation = Run.objects.get(kind="evaluate")
        assert evaluation.inputs["answers"] == [run.pk for run in runs]
        assert self.client.get(self.url(**self.models)).context["open_runs"] == [evaluation]
        self.finish(evaluation, [{"id": pk, "rewards": [1.0, 3.0]} for pk in prompts], "scores.jsonl")
        page = self.client.get(self.url(**self.models))
        assert {row.gain for row in page.context["rows"]} == {-2.0}
        self.assertNotContains(page, "Score the answers")
        third = self.policy("third")
        self.client.post(start, {"a": self.old.pk, "b": third.pk})
        again = Run.objects.filter(kind="generate").latest("pk")
        assert (again.model, again.inputs["prompt_ids"]) == (third, prompts), (
            "the same prompts, by the third alone"
        )

    def test_without_prompts_nothing_is_started(self) -> None:
        self.sign_in(self.alice)
        page = self.client.post(self.url("model-compare-start"), self.models, follow=True)
        self.assertContains(page, "has no prompts to answer yet")
        assert not Run.objects.exists()


class RoundTests(ComparisonCase):
    def test_a_round_stores_what_its_reward_models_say_of_every_prompt(self) -> None:
        first = self.policy("first")
        builders.items(self.project, 30)
        judge_items(self.project, self.alice)
        loop = make_loop(self.project, self.alice)
        loop.first_policy = first
        loop.save()
        round: Round = play(transitions.start_round(loop=loop, creator=self.alice), until="promotion")
        stored = Comparison.objects.filter(
            run__round=round, policy=round.policy_after, baseline=round.policy_before
        )
        for comparison in stored:
            part = comparison.run.part.removeprefix("compare-")
            (reported,) = [win for win in round.report["wins"] if win["name"] == part]
            assert comparison.win_rate["mean"] == pytest.approx(reported["mean"])
            assert comparison.prompts.count() == comparison.win_rate["prompts"] == reported["prompts"]
            for row in comparison.prompts.all():
                scores = {Response.objects.get(pk=pk).author: score for pk, score in row.scores.items()}
                assert set(scores) == {comparison.policy.author, comparison.baseline.author}
                texts = Response.objects.filter(prompt=row.prompt, author=comparison.policy.author)
                assert row.policy_length == sum(len(one.text) for one in texts) / len(texts)
        assert len(stored) == 2
