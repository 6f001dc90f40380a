from __future__ import annotations

from annotation.models import Prompt, User
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

    def test_who_stands_out_is_named_with_the_reason_and_the_judgments_behind_it(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 2)
        self.sign_in(self.dana)
        page = self.client.get(self.url("quality"))
        self.assertContains(page, "Nobody stands out")
        self.assertContains(page, "0 of 2 checked: from 20 judgments on")
        self.always_first(self.bob, 21)
        page = self.client.get(self.url("quality"))
        (person,) = page.context["checks"].people
        assert person.stats.user == self.bob
        (reason,) = person.reasons
        assert reason.label == "Position habit"
        assert "Chooses the answer shown first in " in reason.sentence
        self.assertContains(page, reason.sentence)
        listed = self.client.get(reason.href)
        assert listed.context["listing"].count >= 21
        self.assertContains(self.client.get(self.url("annotator", "bob")), reason.sentence)
        self.assertNotContains(self.client.get(self.url("annotator", "erin")), "Stands out")

    def always_first(self, person: User, times: int) -> None:
        self.more_items(times)
        for n in range(times):
            for who, ranks in (
                (person, [1, 2, 3]),
                (self.erin, [n % 3 + 1, (n + 1) % 3 + 1, (n + 2) % 3 + 1]),
            ):
                lease = builders.leases.claim(project=self.project, annotator=who)
                assert lease is not None
                builders.submit(lease, ranks)

    def test_one_person_is_compared_with_everybody(self) -> None:
        """A filter by annotator shows one row, and the same figures."""
        self.always_first(self.bob, 21)
        self.sign_in(self.alice)
        (every,) = [
            p for p in self.client.get(self.url("quality")).context["people"] if p.stats.user == self.bob
        ]
        (one,) = self.client.get(self.url("quality"), {"annotator": "bob"}).context["people"]
        assert one.stats == every.stats
        assert one.reasons[0].sentence == every.reasons[0].sentence

    def test_intervals_are_on_one_axis_with_its_ends(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.alice)
        page = self.client.get(self.url("quality"))
        chart = page.context["agreement_chart"]
        assert [placed.line.label for placed in chart.lines] == ["bob", "erin"]
        assert (chart.ticks[0].at, chart.ticks[-1].at) == (0, 100)
        assert page.context["gold_chart"] is None
        self.assertContains(page, 'download="agreement-with-others-lowest-first.csv"')
        self.assertContains(page, '<th scope="row">All annotators together.</th>')
        for tick in chart.ticks:
            self.assertContains(page, f">{tick.label}</text>")

    def test_each_figure_of_a_person_links_to_a_page_that_is_there(self) -> None:
        self.gold_missed_by(self.bob)
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.dana)
        (person,) = [
            p for p in self.client.get(self.url("quality")).context["people"] if p.stats.user == self.bob
        ]
        for name, href in person.links.items():
            with self.subTest(name):
                assert "bob" in href
                assert self.client.get(href).status_code == 200

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
