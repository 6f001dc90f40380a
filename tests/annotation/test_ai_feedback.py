"""The opinions of judges beside people's judgments: the report, its pages, and that nothing counts opinions as judgments."""

from __future__ import annotations

import random
from unittest.mock import patch

from django.db import connection

from annotation.actions.exclusions import exclude
from annotation.actions.review import make_gold
from annotation.analytics.agreement import tallies
from annotation.analytics.ai_feedback import Swaps, TrustReport, summaries, trust_report
from annotation.analytics.filters import NO_FILTERS
from annotation.logic import judge_trust
from annotation.models import Author, Item, Judgment, Opinion, OpinionSet, Prompt, Response, User
from annotation.templatetags.analytics import points
from tests import builders, opinions
from tests.analytics import AnalyticsTestCase


class OpinionTestCase(AnalyticsTestCase):
    """Bob and Erin rank three answers of each of some held-out prompts."""

    def ranked(self, *rankings: tuple[list[int], list[int]]) -> list[Item]:
        items = self.judged(*rankings)
        Prompt.objects.filter(project=self.project).update(split="held_out")
        return items

    def letter(self, response: Response) -> str:
        return response.text.split()[1]

    def judge(self, **p: float):
        """A judge by the letters of the two answers; a half for the others."""

        def opinion(first: Response, second: Response) -> float:
            return p.get(self.letter(first) + self.letter(second), 0.5)

        return opinion

    def opinion_set(self, **p: float) -> OpinionSet:
        return opinions.opinion_set(self.project, self.alice, self.judge(**p))


class TrustReportTests(OpinionTestCase):
    def test_opinions_are_compared_with_everybodys_order_of_the_pair(self) -> None:
        self.ranked(([1, 2, 3], [1, 3, 2]), ([1, 1, 2], [2, 1, 3]))
        report = trust_report(self.opinion_set(AB=0.9, AC=0.8, BC=0.3))
        # AB: 2 to 0, then a tie and 0 to 1; AC: 2 to 0 twice; BC: 1 to 1, then 2 to 0
        assert (report.pairs, report.prompts, report.votes) == (6, 2, 11)
        assert report.agreement is not None
        assert report.agreement.value == (1 + 0 + 1 + 1 + 0.5 + 0) / 6
        comparison = report.trust.comparison
        assert comparison is not None
        assert (comparison.pairs, comparison.prompts) == (5, 2)
        assert comparison.judge.value == (1 + 1 + 1 + 0.5 + 0) / 5
        assert comparison.people.value == (1 + 1 + 1 + 0 + 1) / 5

    def test_the_order_in_which_a_judge_compared_them_does_not_matter(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        report = trust_report(self.opinion_set(AB=0.9, AC=0.8, BC=0.3))
        other = self.opinion_set(AB=0.9, AC=0.8, BC=0.3)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(
                "UPDATE annotation_opinion SET first_id = second_id, second_id = first_id, p = 1 - p"
                " WHERE opinion_set_id = %s",
                [other.pk],
            )
            cursor.execute("SET LOCAL session_replication_role = origin")
        turned = trust_report(other)
        assert turned.agreement == report.agreement
        assert [round(line.confidence, 9) for line in turned.reliability] == [
            round(line.confidence, 9) for line in report.reliability
        ]

    def test_several_principles_are_one_opinion(self) -> None:
        (item,) = self.ranked(([1, 2, 3], [1, 2, 3]))
        stored = self.opinion_set(AB=0.9)
        pair = Opinion.objects.get(opinion_set=stored, p=0.9)
        Opinion.objects.create(
            opinion_set=stored,
            prompt=item.prompt,
            first=pair.first,
            second=pair.second,
            p=0.3,
            principle="brief",
        )
        report = trust_report(stored)
        assert report.pairs == 3
        assert sorted(round(line.confidence, 9) for line in report.reliability) == [0.5, 0.6]

    def test_only_people_are_compared_with(self) -> None:
        User.objects.filter(pk=self.erin.pk).update(account="machine")
        self.ranked(([1, 2, 3], [3, 2, 1]))
        report = trust_report(self.opinion_set(AB=0.9, AC=0.9, BC=0.9))
        assert (report.votes, report.trust.comparison) == (3, None)
        assert "no two people" in report.trust.sentence

    def test_nobody_who_is_excluded_is_compared_with(self) -> None:
        self.ranked(([1, 2, 3], [3, 2, 1]))
        exclude(project=self.project, user=self.erin, reason="Careless.", actor=self.alice)
        report = trust_report(self.opinion_set(AB=0.9, AC=0.9, BC=0.9))
        assert (report.votes, report.trust.comparison) == (3, None)

    def test_a_revision_replaces_what_it_revises(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        before = Judgment.objects.get(annotator=self.bob)
        builders.judgments.revise(
            judgment=before,
            annotator=self.bob,
            ranks={placement.response_id: 4 - placement.rank for placement in before.placements.all()},
            idempotency_key=builders.uuid.uuid4(),
        )
        report = trust_report(self.opinion_set(AB=0.9, AC=0.9, BC=0.9))
        assert report.votes == 6
        assert report.agreement is not None
        assert report.agreement.value == 0.5

    def test_gold_items_and_late_judgments_are_left_out(self) -> None:
        first, second = self.ranked(([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, 3]))
        stored = self.opinion_set(AB=0.9, AC=0.9, BC=0.9)
        ranks = {pk: place for place, pk in enumerate(first.responses.values_list("pk", flat=True), 1)}
        make_gold(item=first, actor=self.alice, ranks=ranks, explanation="Clear.")
        assert trust_report(stored).votes == 6
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(
                "UPDATE annotation_judgment SET slot_id = NULL WHERE annotator_id = %s AND item_id = %s",
                [self.erin.pk, second.pk],
            )
            cursor.execute("SET LOCAL session_replication_role = origin")
        assert trust_report(stored).votes == 3

    def test_only_held_out_prompts_count_unless_all_are_asked_for(self) -> None:
        items = self.ranked(([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, 3]))
        Prompt.objects.filter(pk=items[0].prompt_id).update(split="train")
        stored = self.opinion_set(AB=0.9, AC=0.9, BC=0.9)
        assert trust_report(stored).pairs == 3
        assert trust_report(stored, held_out_only=False).pairs == 6

    def test_swaps_are_counted_over_all_opinions(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        prompt = Prompt.objects.get()
        Prompt.objects.update(split="train")
        orders = {"AB": (0.9, 0.8), "AC": (0.7, 0.4), "BC": (0.1, 0.2)}

        def judge(first: Response, second: Response) -> dict[str, float]:
            p_ab, p_ba = orders[self.letter(first) + self.letter(second)]
            return {"p_ab": p_ab, "p_ba": p_ba, "p": (p_ab + p_ba) / 2}

        stored = opinions.opinion_set(self.project, self.alice, judge)
        swaps = trust_report(stored).swaps
        assert swaps is not None
        assert (swaps.consistency.value, swaps.consistency.n, swaps.is_low) == (2 / 3, 3, True)
        assert round(swaps.first_shown, 9) == round(((0.9 + 0.2) + (0.7 + 0.6) + (0.1 + 0.8)) / 6, 9)
        assert "changes its preference" in trust_report(stored).warnings[0]
        scores = opinions.opinion_set(self.project, self.alice, lambda first, second: {"p": 0.7})
        assert trust_report(scores).swaps is None
        assert prompt.opinions.count() == 6

    def test_length_and_its_own_answers(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        own = Author.objects.create(project=self.project, kind="policy", name="judge-1")
        a, b, c = Response.objects.order_by("pk")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("UPDATE annotation_response SET text = text || ' More.' WHERE id = %s", [c.pk])
            cursor.execute("UPDATE annotation_response SET author_id = %s WHERE id = %s", [own.pk, b.pk])
            cursor.execute("SET LOCAL session_replication_role = origin")
        stored = opinions.opinion_set(
            self.project, self.alice, lambda first, second: 0.9 if first == b else 0.2, author=own
        )
        report = trust_report(stored)
        assert report.length is not None
        # AC for C, BC for B; people never prefer C
        assert (report.length.judge, report.length.people, report.length.difference.n) == (0.5, 0, 2)
        assert report.own is not None
        # AB for B, BC for B; people prefer A and B
        assert (report.own.judge, report.own.people, report.own.difference.n) == (1, 0.5, 2)
        assert "prefers the longer answer in 50% of the pairs, people in 0%" in report.warnings[0]
        assert a.prompt_id == b.prompt_id

    def test_the_most_confident_disagreements_come_first(self) -> None:
        items = self.ranked(([1, 2, 3], [1, 2, 3]))
        report = trust_report(self.opinion_set(AB=0.1, AC=0.02, BC=0.9))
        assert [(row.confidence, row.votes_for, row.votes_against) for row in report.disagreements] == [
            (0.98, 0, 2),
            (0.9, 0, 2),
        ]
        assert report.disagreements[0].item == items[0].pk
        assert report.disagreements[0].prompt == items[0].prompt.messages[-1]["content"]

    def test_win_rates_of_authors_are_from_judgments_and_opinions(self) -> None:
        self.project.k = 2
        self.project.save()
        old, new = (f"policy-{n}" for n in (0, 1))
        rows = [
            {
                "prompt": f"Say {n}.",
                "responses": [{"text": f"Old {n}.", "author": old}, {"text": f"New {n}.", "author": new}],
            }
            for n in range(30)
        ]
        builders.imported(self.project, *rows)
        Prompt.objects.update(split="held_out")
        by_name = {author.name: author for author in Author.objects.filter(project=self.project)}
        for _ in range(24):
            lease = builders.leases.claim(project=self.project, annotator=self.bob)
            assert lease is not None
            is_new = Response.objects.get(pk=lease.shown_order[0]).author == by_name[new]
            builders.submit(lease, [1, 2] if is_new else [2, 1])
        stored = opinions.opinion_set(
            self.project, self.alice, lambda first, second: 0.9 if first.author == by_name[new] else 0.1
        )
        (win,) = trust_report(stored).win_rates
        newer, older = sorted(by_name.values(), key=lambda author: -author.pk)
        assert (win.author, win.other) == (newer.name, older.name)
        assert win.rate.people.value == (1 if newer.name == new else 0)
        assert (win.rate.rate.n, win.rate.opinions) == (24, 6)
        assert round(win.rate.judge, 9) == (0.9 if newer.name == new else 0.1)

    def test_its_queries_do_not_grow_with_the_work(self) -> None:
        self.ranked(*[([1, 2, 3], [1, 3, 2])] * 6)
        stored = [self.opinion_set(AB=0.2, AC=0.9, BC=0.9) for _ in range(3)]
        # pairs, swaps, win rates, the prompts of disagreements
        with self.assertNumQueries(4):
            trust_report(stored[0])
        with self.assertNumQueries(2):
            found = summaries(self.project, stored)
        assert {one.trust for one in found} == {trust_report(stored[0]).trust}


class VerdictTests(OpinionTestCase):
    def report(self, *, skill: float, prompts: int = 40) -> TrustReport:
        """A judge of many prompts: people prefer A to B to C but for one in ten; the judge is right with `skill`."""
        rng = random.Random(1)
        orders = [[1, 2, 3] if rng.random() < 0.9 else [3, 2, 1] for _ in range(2 * prompts)]
        self.ranked(*zip(orders[::2], orders[1::2], strict=True))
        return trust_report(
            opinions.opinion_set(
                self.project, self.alice, lambda first, second: 0.8 if rng.random() < skill else 0.2
            )
        )

    def test_a_good_judge_counts(self) -> None:
        report = self.report(skill=0.98)
        assert report.counts
        assert report.trust.comparison is not None
        assert report.weight == judge_trust.weight(report.trust.comparison.judge.low) > 0.1
        assert report.trust.sentence.startswith(f"It counts, with weight {report.weight:.2f}")
        assert report.warnings == []

    def test_one_that_is_better_than_chance_but_far_from_people_does_not(self) -> None:
        report = self.report(skill=0.76)
        assert not report.counts
        assert report.trust.comparison is not None
        assert judge_trust.weight(report.trust.comparison.judge.low) > 0
        assert report.weight == 0
        assert "at least 85% is needed" in report.trust.sentence

    def test_a_blind_one_does_not(self) -> None:
        report = self.report(skill=0.5)
        assert (report.counts, report.weight) == (False, 0)
        assert "may be chance" in report.trust.sentence
        assert report.cascade is None

    def test_without_judgments_it_says_so(self) -> None:
        self.more_items(1)
        report = trust_report(self.opinion_set())
        assert "have not judged" in report.trust.sentence
        assert (report.agreement, report.ece, report.weight) == (None, None, 0)


class PageTests(OpinionTestCase):
    def test_leads_and_reviewers_see_the_pages(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        self.opinion_set(AB=0.9)
        self.who_may("ai-feedback", alice=200, dana=200, bob=403)
        self.who_may("opinion-set", 1, alice=200, dana=200, bob=403)

    def test_a_set_of_another_project_is_not_found(self) -> None:
        other = builders.project(self.alice, "Other", k=2)
        builders.items(other)
        opinions.opinion_set(other, self.alice, lambda first, second: 0.9)
        self.sign_in(self.alice)
        assert self.client.get(self.url("opinion-set", 1)).status_code == 404

    def test_where_there_are_no_opinions_it_says_what_to_do(self) -> None:
        self.sign_in(self.alice)
        page = self.client.get(self.url("ai-feedback"))
        self.assertContains(page, "let two people judge some of the held-out prompts")
        self.assertContains(page, f'href="{self.url("run-new", "judge")}"')
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(self.url("ai-feedback")), self.url("run-new", "judge"))

    def test_a_lead_asks_another_judge_from_here_and_opinions_are_downloaded(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        self.opinion_set(AB=0.9, AC=0.9, BC=0.1)
        download = f"{self.url('live-download')}?format=trl&amp;ai=only&amp;opinions=1"
        for user, is_lead in ((self.alice, True), (self.dana, False)):
            self.sign_in(user)
            asked = self.client.get(self.url("ai-feedback")).content.decode()
            assert (self.url("run-new", "judge") in asked) == is_lead
            self.assertContains(self.client.get(self.url("opinion-set", 1)), download)
            assert self.client.get(download.replace("&amp;", "&")).status_code == 200

    def test_the_list_has_the_main_figures_of_each_set(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        self.opinion_set(AB=0.9, AC=0.9, BC=0.1)
        self.opinion_set(AB=0.9, AC=0.9, BC=0.9)
        self.sign_in(self.dana)
        page = self.client.get(self.url("ai-feedback"))
        newest, oldest = page.context["summaries"]
        assert newest.trust.comparison.judge.value == 1
        assert oldest.trust.comparison.judge.value == 2 / 3
        self.assertContains(page, "67%")
        self.assertContains(page, "does not count")
        self.assertContains(page, self.url("opinion-set", 2))
        self.assertContains(page, "12,200")

    def test_in_a_large_project_the_table_comes_by_itself(self) -> None:
        self.ranked(([1, 2, 3], [1, 2, 3]))
        self.opinion_set(AB=0.9)
        self.sign_in(self.dana)
        with patch("annotation.analytics.figures.LARGE", 1):
            page = self.client.get(self.url("ai-feedback"))
            self.assertContains(page, "Loading figures")
            self.assertNotContains(page, self.url("opinion-set", 1))
        part = self.client.get(self.url("ai-feedback"), headers={"HX-Request": "true"})
        self.assertContains(part, self.url("opinion-set", 1))
        self.assertNotContains(part, "<html")

    def test_a_judge_that_nobody_measured_is_called_that(self) -> None:
        self.more_items(1)
        self.opinion_set()
        self.sign_in(self.dana)
        self.assertContains(self.client.get(self.url("ai-feedback")), "not measured")
        page = self.client.get(self.url("opinion-set", 1))
        self.assertContains(page, "How far it agrees with people is unknown")
        self.assertNotContains(page, "It does not count")

    def test_the_page_of_a_set_says_whether_it_counts_and_where_it_is_wrong(self) -> None:
        (item,) = self.ranked(([1, 2, 3], [1, 2, 3]))
        self.opinion_set(AB=0.9, AC=0.9, BC=0.04)
        self.sign_in(self.dana)
        page = self.client.get(self.url("opinion-set", 1))
        self.assertContains(page, "It does not count")
        self.assertContains(page, "<b>96%</b> sure; people 0 to 2")
        self.assertContains(page, self.url("item", item.pk))
        self.assertContains(page, "12,000 read, 200 written")
        self.assertContains(page, "0.03, by the prices of the run")

    def test_an_item_shows_opinions_as_a_models_and_counts_them_nowhere(self) -> None:
        (item,) = self.ranked(([1, 2, 3], [1, 3, 2]))
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(self.url("item", item.pk)), "Opinions of a judge")
        self.opinion_set(AB=0.5, AC=0.5, BC=0.5)
        self.opinion_set(AB=0.9, AC=0.8, BC=0.3)
        page = self.client.get(self.url("item", item.pk))
        rows = page.context["review"].opinions
        assert [(row.better, row.worse, row.confidence, row.agreeing, row.people) for row in rows] == [
            ("A", "B", 0.9, 2, 2),
            ("A", "C", 0.8, 2, 2),
            ("C", "B", 0.7, 1, 2),
        ]
        assert page.context["review"].opinion_set.number == 2
        assert len(page.context["review"].judgments) == 2
        self.assertContains(page, "Not a person; counted nowhere")
        self.assertContains(page, "1 of 2")

    def test_agreement_and_judgments_are_unchanged_by_opinions(self) -> None:
        self.ranked(([1, 2, 3], [1, 3, 2]))
        before = (tallies(self.project, NO_FILTERS, "all"), Judgment.objects.count())
        self.opinion_set(AB=0.1, AC=0.1, BC=0.1)
        assert (tallies(self.project, NO_FILTERS, "all"), Judgment.objects.count()) == before

    def test_their_queries_do_not_grow_with_the_sets(self) -> None:
        self.ranked(*[([1, 2, 3], [1, 3, 2])] * 4)
        for _ in range(4):
            self.opinion_set(AB=0.1)
        self.sign_in(self.alice)
        # user; membership; whether the project is large; number of sets; sets; pairs; swaps
        with self.assertNumQueries(7):
            self.client.get(self.url("ai-feedback"))
        # user; membership; the set; whether the project is large; pairs, swaps, win rates, prompts
        with self.assertNumQueries(8):
            self.client.get(self.url("opinion-set", 4))


def test_few_consistent_swaps_are_low() -> None:
    few, many = judge_trust.swap_consistency(7, 10), judge_trust.swap_consistency(8, 10)
    assert few is not None
    assert many is not None
    assert (Swaps(few, 0.5).is_low, Swaps(many, 0.5).is_low) == (True, False)


def test_a_difference_in_points_that_rounds_to_zero_has_no_sign() -> None:
    assert [points(value) for value in (-0.08, -0.004, 0.0, 0.004, 0.03)] == ["−8", "0", "0", "0", "+3"]
