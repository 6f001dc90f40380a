"""Agreement on each item is kept beside it, whatever happens to a run of the worker."""

from __future__ import annotations

import uuid
from unittest import mock

from django.core.cache import cache

from annotation.actions import agreement, review
from annotation.models import Agreement, Item, Judgment
from annotation.tasks import measure_agreement
from tests import builders
from tests.analytics import AnalyticsTestCase


class MeasureTests(AnalyticsTestCase):
    def setUp(self) -> None:
        cache.delete(agreement.CURSOR)
        self.addCleanup(cache.delete, agreement.CURSOR)

    def shares(self) -> dict[int, float]:
        return dict(Agreement.objects.values_list("item", "share"))

    def test_it_is_the_share_of_pairs_put_the_same_way(self) -> None:
        same, one_pair, none, tied = self.judged(
            [[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [2, 3, 1]], [[1, 2, 3], [3, 2, 1]], [[1, 1, 2], [1, 1, 1]]
        )
        measure_agreement()
        assert self.shares() == {same.pk: 1.0, one_pair.pk: 1 / 3, none.pk: 0.0, tied.pk: 1 / 3}

    def test_of_three_people_every_two_meet(self) -> None:
        self.project.overlap = 3
        self.project.save()
        builders.items(self.project, 1, k=3)
        for person, ranks in ((self.bob, [1, 2, 3]), (self.erin, [1, 2, 3]), (self.dana, [3, 2, 1])):
            builders.judgment(self.project, person, ranks)
        agreement.update()
        assert list(self.shares().values()) == [1 / 3]

    def test_an_item_that_one_person_judged_has_none(self) -> None:
        builders.items(self.project, 1, k=3)
        builders.judgment(self.project, self.bob)
        agreement.update()
        assert self.shares() == {}

    def test_only_what_is_new_is_measured_and_a_revision_is(self) -> None:
        (item,) = self.judged([[1, 2, 3], [3, 2, 1]])
        agreement.update()
        assert self.shares() == {item.pk: 0.0}
        first = Judgment.objects.get(item=item, annotator=self.erin)
        new = Judgment.objects.create(
            item=item,
            project_id=item.project_id,
            slot=first.slot,
            annotator=self.erin,
            shown_order=first.shown_order,
            seconds=1,
            supersedes=first,
            idempotency_key=uuid.uuid4(),
        )
        for rank, response in enumerate(sorted(first.shown_order), start=1):
            new.placements.create(response_id=response, rank=rank)
        with mock.patch.object(agreement, "OVERLAP", 0):
            assert agreement.update() == new.pk - first.pk
            assert agreement.update() == 0
        assert self.shares() == {item.pk: 1.0}

    def test_in_parts_and_again_it_comes_to_the_same(self) -> None:
        self.judged(*[[[1, 2, 3], [3, 2, 1]]] * 3)
        with mock.patch.object(agreement, "BATCH", 1):
            agreement.update()
        assert list(self.shares().values()) == [0.0] * 3
        agreement.update()
        assert list(self.shares().values()) == [0.0] * 3

    def test_a_cache_of_another_database_is_not_believed(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]])
        cache.set(agreement.CURSOR, Judgment.objects.latest("pk").pk + 10_000)
        agreement.update()
        assert list(self.shares().values()) == [1.0]


class LeastAgreedTests(AnalyticsTestCase):
    def setUp(self) -> None:
        cache.delete(agreement.CURSOR)
        self.addCleanup(cache.delete, agreement.CURSOR)

    def listed(self, **query: object) -> list[int]:
        self.sign_in(self.dana)
        page = self.client.get(self.url("items"), {"sort": "agreement"} | query)
        return [item.pk for item in page.context["listing"].page.rows]

    def test_items_on_which_people_agree_least_come_first_with_the_figure(self) -> None:
        same, mild, worst = self.judged(
            [[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [2, 3, 1]], [[1, 2, 3], [3, 2, 1]]
        )
        assert self.listed() == [worst.pk, mild.pk, same.pk]
        Agreement.objects.all().delete()
        assert self.listed() == [], "nothing was measured yet"
        cache.delete(agreement.CURSOR)
        agreement.update()
        assert self.listed() == [worst.pk, mild.pk, same.pk]
        page = self.client.get(self.url("items"), {"sort": "agreement"})
        for percent in ("0%", "33%", "100%"):
            self.assertContains(page, f"<span>{percent}</span>")
        assert self.listed(annotator="dana") == []
        assert self.listed(sort="odd") == sorted([same.pk, mild.pk, worst.pk], reverse=True)

    def test_an_item_with_a_known_answer_is_none_of_them(self) -> None:
        one, two = self.judged([[1, 2, 3], [3, 2, 1]], [[1, 2, 3], [3, 2, 1]])
        agreement.update()
        ranks = {pk: n for n, pk in enumerate(sorted(one.responses.values_list("pk", flat=True)), start=1)}
        review.make_gold(item=Item.objects.get(pk=one.pk), actor=self.alice, ranks=ranks, explanation="So.")
        assert self.listed() == [two.pk]
        assert self.listed(state="gold") == [one.pk]

    def test_another_project_s_items_are_none_of_them(self) -> None:
        (mine,) = self.judged([[1, 2, 3], [3, 2, 1]])
        other = builders.project(self.charlie, "Other", k=3, overlap=2)
        builders.items(other, 1, k=3)
        for person in (self.bob, self.erin):
            builders.join(other, person, "annotator")
            builders.judgment(other, person)
        agreement.update()
        assert Agreement.objects.count() == 2
        assert self.listed() == [mine.pk]

    def test_its_queries_do_not_grow_with_the_items(self) -> None:
        self.judged(*[[[1, 2, 3], [3, 2, 1]]] * 6)
        agreement.update()
        self.sign_in(self.alice)
        # user; membership; count, items, rows; whether the project is large; filters: tags, people, versions; views; batches
        with self.assertNumQueries(11):
            self.client.get(self.url("items"), {"sort": "agreement"})

    def test_the_figures_of_agreement_lead_to_them(self) -> None:
        self.judged([[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.alice)
        page = self.client.get(self.url("quality"), {"annotator": "bob"})
        self.assertContains(page, f"{self.url('items')}?sort=agreement&amp;annotator=bob")
        self.assertContains(page, f"{self.url('items')}?version=1&amp;sort=agreement")
