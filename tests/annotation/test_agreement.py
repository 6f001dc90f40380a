"""What SQL counts is what Python counts."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from unittest import mock

import pytest
from django.core.cache import cache

from annotation.actions import judgments, leases, review
from annotation.analytics import annotators, figures, item_search
from annotation.analytics.agreement import alphas, tallies
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic import agreement, bias
from annotation.logic.agreement import Interval
from annotation.models import Guideline, Judgment, Project, Response, User
from tests import builders
from tests.analytics import AnalyticsTestCase
from tests.annotation.queue_case import expire


def rankings(project: Project) -> dict[int, dict[int, list[int]]]:
    """Item -> person -> ranks in the order of the responses' ids."""
    found: dict[int, dict[int, list[int]]] = {}
    for judgment in Judgment.objects.current().filter(
        item__project=project, item__gold__isnull=True, slot__isnull=False
    ):
        places = sorted((p.response_id, p.rank) for p in judgment.placements.all())
        found.setdefault(judgment.item_id, {})[judgment.annotator_id] = [rank for _, rank in places]
    return found


class RankingTests(AnalyticsTestCase):
    k = 4

    def judge_at_random(self, seed: int) -> None:
        draw = random.Random(seed)
        self.project.overlap = 3
        self.project.save()
        builders.items(self.project, 12, k=4)
        crowd: list[User] = [self.bob, self.erin, self.dana, self.alice]
        for _ in range(40):
            person = draw.choice(crowd)
            lease = leases.claim(project=self.project, annotator=person)
            if lease is None:
                continue
            ranks = {response: draw.randint(1, 4) for response in lease.shown_order}
            judgments.submit(lease=lease, ranks=ranks, degree=None, idempotency_key=uuid.uuid4())

    def test_percent_agreement_tau_and_alpha_are_those_of_the_logic(self) -> None:
        for seed in range(3):
            self.judge_at_random(seed)
            said = rankings(self.project)
            expected = agreement.tally([list(theirs.values()) for theirs in said.values()])
            found = tallies(self.project, NO_FILTERS, "all", "at", "person", "version")
            whole = found["all"][""]
            assert (whole.same, whole.pairs, whole.clusters, whole.rankings) == (
                expected.same,
                expected.pairs,
                expected.clusters,
                expected.rankings,
            )
            assert whole.tau == pytest.approx(expected.tau)
            assert whole.share == expected.share
            # all under one version, in one week, and every pair belongs to two people
            assert [tally.pairs for tally in found["version"].values()] == [expected.pairs]
            assert [tally.pairs for tally in found["at"].values()] == [expected.pairs]
            assert sum(tally.pairs for tally in found["person"].values()) == 2 * expected.pairs

            units = [
                ([ranks[place] for ranks in theirs.values()], 1)
                for theirs in said.values()
                for place in range(4)
            ]
            signs = [
                ([(r[i] > r[j]) - (r[i] < r[j]) for r in theirs.values()], 1)
                for theirs in said.values()
                for i in range(4)
                for j in range(i + 1, 4)
            ]
            measured = alphas(self.project, NO_FILTERS)
            assert measured.ordinal is not None
            assert measured.nominal is not None
            ordinal = agreement.alpha(agreement.coincidences(units), level="ordinal")
            nominal = agreement.alpha(agreement.coincidences(signs), level="nominal")
            assert measured.ordinal.value == pytest.approx(ordinal)
            assert measured.nominal.value == pytest.approx(nominal)

    def test_revisions_count_once_and_late_judgments_and_gold_not_at_all(self) -> None:
        one, two = self.judged([[1, 2, 3, 4], [1, 2, 3, 4]], [[1, 2, 3, 4], [4, 3, 2, 1]])
        assert tallies(self.project, NO_FILTERS, "all")["all"][""].same == 6
        first = Judgment.objects.get(item=two, annotator=self.erin)
        new = Judgment.objects.create(
            item=two,
            project_id=two.project_id,
            slot=first.slot,
            annotator=self.erin,
            shown_order=first.shown_order,
            seconds=1,
            supersedes=first,
            idempotency_key=uuid.uuid4(),
        )
        for rank, response in enumerate(sorted(first.shown_order), start=1):
            new.placements.create(response_id=response, rank=rank)
        assert tallies(self.project, NO_FILTERS, "all")["all"][""].same == 12
        one.gold = {"1": 1}
        one.save()
        assert tallies(self.project, NO_FILTERS, "all")["all"][""].pairs == 6

    def test_filters_pick_the_person_the_tag_and_the_version(self) -> None:
        self.judged([[1, 2, 3, 4], [1, 2, 3, 4]], [[1, 2, 3, 4], [4, 3, 2, 1]])

        def pairs(filters: Filters) -> float:
            return tallies(self.project, filters, "all")["all"].get("", agreement.Tally()).pairs

        assert pairs(Filters(annotator=self.bob)) == 12
        assert pairs(Filters(annotator=self.dana)) == 0
        assert pairs(Filters(tag="nothing")) == 0
        assert pairs(Filters(version=1)) == 12
        Guideline.objects.create(project=self.project, number=2, text="", html="", author=self.alice)
        assert pairs(Filters(version=2)) == 0

    def test_judgments_under_two_versions_meet_under_none(self) -> None:
        self.more_items(1)
        builders.judgment(self.project, self.bob)
        Guideline.objects.create(project=self.project, number=2, text="", html="", author=self.alice)
        builders.judgment(self.project, self.erin)
        found = tallies(self.project, NO_FILTERS, "all", "version")
        assert found["all"][""].pairs == 6
        assert found["version"] == {}

    def test_somebody_s_alpha_is_of_the_items_that_they_judged(self) -> None:
        self.judged([[1, 2, 3, 4], [1, 2, 3, 4]], [[4, 3, 2, 1], [4, 3, 2, 1]])
        self.more_items(1)
        builders.judgment(self.project, self.dana, [1, 2, 3, 4])
        builders.judgment(self.project, self.alice, [4, 3, 2, 1])
        whole, bobs = (alphas(self.project, filters) for filters in (NO_FILTERS, Filters(annotator=self.bob)))
        assert whole.ordinal is not None
        assert bobs.ordinal is not None
        assert whole.ordinal.value < bobs.ordinal.value == 1


class ComparisonTests(AnalyticsTestCase):
    k = 2

    def test_alpha_is_of_the_degrees_on_both_sides(self) -> None:
        self.judged([[1, 2], [1, 2]], [[2, 1], [2, 1]], degrees=("significantly", "slightly"))
        # one item: A by much and A by little; the other: B by much and B by little
        values = [([1, 3], 1), ([8, 6], 1)]
        expected = agreement.alpha(agreement.coincidences(values), level="ordinal")
        found = alphas(self.project, NO_FILTERS)
        assert found.ordinal is not None
        assert found.ordinal.value == pytest.approx(expected)
        assert found.nominal is not None
        assert found.nominal.value == 1

    def test_a_little_better_is_not_the_same_as_a_little_worse(self) -> None:
        self.judged([[1, 2], [2, 1]], [[1, 2], [1, 2]], degrees=("negligibly", "negligibly"))
        expected = agreement.alpha(agreement.coincidences([([4, 5], 1), ([4, 4], 1)]), level="ordinal")
        found = alphas(self.project, NO_FILTERS)
        assert found.ordinal is not None
        assert found.ordinal.value == pytest.approx(expected)


class AnnotatorStatsTests(AnalyticsTestCase):
    def test_first_answers_lengths_gold_and_agreement_are_counted_by_person(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        self.gold_missed_by(self.bob)
        by = {one.user.username: one for one in annotators.annotator_stats(self.project, NO_FILTERS)}
        assert set(by) == {"bob", "erin"}
        bob, erin = by["bob"], by["erin"]
        assert (bob.judgments, erin.judgments) == (3, 2)
        assert bob.agreement is not None
        assert bob.agreement.n == 6
        assert bob.agreement.value == 0.5
        assert (bob.gold.right, bob.gold.pairs, bob.gold.missed) == (0, 3, 1)
        assert erin.gold.share is None
        firsts = sum(
            Judgment.objects.filter(
                annotator=self.bob, placements__rank=1, placements__response_id=j.shown_order[0], pk=j.pk
            ).count()
            for j in Judgment.objects.filter(annotator=self.bob)
        )
        assert bob.left is not None
        assert bob.left.observed.value == pytest.approx(firsts / 3)
        assert bob.left.expected == pytest.approx(1 / 3)

    def test_a_known_answer_is_missed_where_less_than_two_thirds_of_it_is_right(self) -> None:
        self.more_items(4)
        right, mostly, half = [1, 2, 3], [1, 3, 2], [2, 1, 2]
        for said, gold in ((right, right), (right, mostly), (right, half), ([1, 1, 2], right)):
            judgment = builders.judgment(self.project, self.bob, said)
            ranks = dict(zip(sorted(judgment.shown_order), gold, strict=True))
            review.make_gold(item=judgment.item, actor=self.alice, ranks=ranks, explanation="It is known.")
        (bob,) = annotators.annotator_stats(self.project, NO_FILTERS)
        assert (bob.gold.right, bob.gold.pairs, bob.gold.missed) == (8, 11, 1)
        (miss,) = annotators.gold_misses(self.project, NO_FILTERS).read(("judgment_id",), limit=9)
        assert (miss.right, miss.pairs) == (1, 2)

    def test_revisions_count_once(self) -> None:
        self.gold_missed_by(self.bob)
        self.judged([[1, 2, 3], [1, 2, 3]])
        for judgment in Judgment.objects.filter(annotator=self.bob):
            ranks = {placed.response_id: 4 - placed.rank for placed in judgment.placements.all()}
            judgments.revise(judgment=judgment, annotator=self.bob, ranks=ranks, idempotency_key=uuid.uuid4())
        by = {one.user.username: one for one in annotators.annotator_stats(self.project, NO_FILTERS)}
        assert by["bob"].judgments == 2
        assert (by["bob"].gold.right, by["bob"].gold.pairs, by["bob"].gold.judgments) == (3, 3, 1)

    def test_late_judgments_count_in_nothing(self) -> None:
        self.more_items(1)
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        expire(lease)
        for person in (self.erin, self.dana):
            builders.judgment(self.project, person)
        late = builders.submit(lease)
        assert late.slot_id is None
        counted = {self.erin.pk, self.dana.pk}
        assert {one.user.pk for one in annotators.annotator_stats(self.project, NO_FILTERS)} == counted
        assert [
            one.user for one in annotators.annotator_stats(self.project, Filters(annotator=self.erin))
        ] == [self.erin]
        assert [
            item.judgment_count for item in item_search.search_items(self.project, item_search.Search())
        ] == [2]
        assert tallies(self.project, NO_FILTERS, "all")["all"][""].pairs == 3
        ranks = {placed.response_id: placed.rank for placed in late.placements.all()}
        review.make_gold(item=late.item, actor=self.alice, ranks=ranks, explanation="It is known.")
        assert set(annotators.gold_scores(self.project, NO_FILTERS)) == counted

    def test_with_many_people_what_stands_out_by_chance_is_not_flagged(self) -> None:
        def flagged_left(number: int, p: float) -> annotators.AnnotatorStats:
            return annotators.AnnotatorStats(
                User(pk=number), left=bias.Test(Interval(0.6, 0.5, 0.7, 100), 0.5, p)
            )

        crowd = [flagged_left(number, 0.009) for number in range(1, 31)]
        assert [each.flags for each in annotators._with_flags(crowd)] == [frozenset()] * 30
        assert annotators._with_flags(crowd[:1])[0].flags == {"left"}, "alone it is no chance"
        found = annotators._with_flags([*crowd, flagged_left(31, 1e-6)])
        assert [each.user.pk for each in found if each.flags] == [31]

    def test_to_a_day_means_its_end_and_to_a_moment_before_it(self) -> None:
        self.more_items(1)
        at = builders.judgment(self.project, self.bob).created_at
        day, moment = f"{at:%Y-%m-%d}", f"{at:%Y-%m-%dT%H:%M:%S.%f}"
        for query, items in (
            ({"to": day}, 1),
            ({"to": f"{at - timedelta(days=1):%Y-%m-%d}"}, 0),
            ({"to": moment}, 0),
            ({"from": moment}, 1),
            ({"from": day, "to": day}, 1),
        ):
            assert item_search.search_items(self.project, item_search.Search.read(query)).count() == items, (
                query
            )

    def test_pairs_of_one_known_answer_hang_together(self) -> None:
        share = annotators.GoldScore(right=30, pairs=60, judgments=10).share
        assert share is not None
        assert (share.low, share.high, share.n) == (*agreement.wilson(5, 10), 10)

    def test_a_tie_for_the_best_is_no_choice_of_the_first(self) -> None:
        builders.items(self.project, 2, k=3)
        for ranks in ([2, 1, 3], [1, 1, 2]):
            lease = leases.claim(project=self.project, annotator=self.bob)
            assert lease is not None
            builders.submit(lease, ranks)
        (bob,) = annotators.annotator_stats(self.project, NO_FILTERS)
        assert bob.left is not None
        assert (bob.left.observed.value, bob.left.observed.n) == (0, 1)

    def test_a_taste_for_length_is_measured_beside_the_others_where_lengths_differ(self) -> None:
        texts = ["Briefly.", "In the middle of it.", "At length, and then some more."]
        rows = [{"id": f"l{n}", "prompt": f"How {n}?", "responses": texts} for n in range(2)]
        same = {"prompt": "Who?", "responses": ["Yes it.", "No, it.", "Who, me"]}
        builders.imported(self.project, *rows, same)
        length = {answer.pk: len(answer.text) for answer in Response.objects.all()}
        for person, longest_first in ((self.bob, True), (self.erin, False)):
            while lease := leases.claim(project=self.project, annotator=person):
                order = sorted(lease.shown_order, key=lambda pk: length[pk], reverse=longest_first)
                ranks = {pk: rank for rank, pk in enumerate(order, start=1)}
                judgments.submit(lease=lease, ranks=ranks, idempotency_key=uuid.uuid4())
        by = {one.user.username: one.length for one in annotators.annotator_stats(self.project, NO_FILTERS)}
        bob = by["bob"]
        assert bob is not None
        assert (bob.observed.value, bob.observed.n, bob.expected) == (1, 2, 0)

    def test_drift_is_the_later_half_beside_the_earlier_one(self) -> None:
        alike, reverse = [[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]]
        self.judged(alike, alike, reverse, reverse)
        bob = next(
            one for one in annotators.annotator_stats(self.project, NO_FILTERS) if one.user == self.bob
        )
        assert bob.drift is not None
        assert (bob.drift.observed.value, bob.drift.expected) == (0, 1)

    def test_who_always_takes_the_first_answer_stands_out(self) -> None:
        builders.items(self.project, 14, k=3)
        for _ in range(14):
            lease = leases.claim(project=self.project, annotator=self.bob)
            assert lease is not None
            builders.submit(lease, [1, 2, 3])
        (bob,) = annotators.annotator_stats(self.project, NO_FILTERS)
        assert bob.flags == {"left"}


class CachedTests(AnalyticsTestCase):
    def test_what_took_long_is_kept_for_a_while_and_what_was_quick_is_not(self) -> None:
        counted: list[int] = []

        def count(_project: Project, _filters: Filters, _name: str) -> int:
            counted.append(1)
            return len(counted)

        read = figures.figure(count)
        cache.clear()
        with mock.patch.object(figures, "QUICK_S", 1000.0):
            assert [read(self.project, NO_FILTERS, "x") for _ in range(2)] == [1, 2]
        with mock.patch.multiple(figures, QUICK_S=-1.0, LIFETIME_FACTOR=1e9):
            assert [read(self.project, NO_FILTERS, "x") for _ in range(2)] == [3, 3]
            assert read(self.project, Filters(tag="other"), "x") == 4
            assert read(self.project, NO_FILTERS, "y") == 5
        cache.clear()
