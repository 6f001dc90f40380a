from __future__ import annotations

from annotation.models import Prompt
from tests import builders
from tests.analytics import AnalyticsTestCase


class QualityTests(AnalyticsTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("quality", alice=200, dana=200, bob=403)

    def test_it_says_how_far_people_agree_and_on_what_they_differ(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 3, 2]], [[1, 2, 3], [3, 2, 1]])
        Prompt.objects.filter(project=self.project).update(tags=["coding"])
        self.sign_in(self.dana)
        response = self.client.get(self.url("quality"))
        assert response.context["share"].n == 9
        assert response.context["share"].percent == 56
        assert [row.name for row in response.context["versions"]] == ["Version 1"]
        assert [row.name for row in response.context["tags"]] == ["coding"]
        self.assertContains(response, "56% are ordered the same way")
        self.assertContains(response, self.url("annotator", "erin"))
        self.assertContains(response, f"{self.url('items')}?tag=coding")

    def test_filters_are_in_the_address(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]])
        self.sign_in(self.alice)
        page = self.client.get(self.url("quality"), {"annotator": "erin", "days": "7"})
        assert page.context["filters"].query == "days=7&annotator=erin"
        assert [one.user.username for one in page.context["annotator_stats"]] == ["erin"]
        for odd in (
            "days=x",
            "version=%00",
            "annotator=%00",
            "tag=%00",
            "version=99999999999999999999",
            "days=3",
        ):
            with self.subTest(odd):
                assert self.client.get(self.url("quality") + "?" + odd).status_code == 200

    def test_where_nothing_was_judged_it_says_what_to_do(self) -> None:
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("quality")), "Invite people")
        self.judged([[1, 2, 3], [1, 2, 3]])
        self.assertContains(self.client.get(self.url("quality"), {"version": 9}), "Clear the filters")

    def test_its_queries_do_not_grow_with_the_work(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 3, 2]]] * 5)
        for n in range(4):
            builders.join(self.project, builders.user(f"person-{n}"), "annotator")
        self.sign_in(self.alice)
        # user; membership; whether it is large; from when to when; agreement, two of alpha; people: agreement, gold, work,
        # users, members; the filters' tags, people, versions; versions again; degrees
        with self.assertNumQueries(18):
            self.client.get(self.url("quality"))
