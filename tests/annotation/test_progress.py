from __future__ import annotations

from django.urls import reverse

from annotation import analytics
from annotation.actions import leases, skips
from annotation.analytics import time_steps
from annotation.analytics.filters import NO_FILTERS
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class ProgressTests(AccessTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.check(Endpoint("progress", get=200, reviewer_get=200))

    def test_it_counts_the_queue_the_days_the_people_and_the_skips(self) -> None:
        builders.items(self.project, 4)
        builders.judgment(self.project, self.bob)
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        skips.skip(lease=lease, reason="identical")
        leases.claim(project=self.project, annotator=self.bob)
        self.sign_in(self.dana)
        response = self.client.get(reverse("progress", args=[self.project.slug]))
        status = response.context["queue"]
        assert (status["total"], status["done"], status["left"], status["leased"]) == (4, 1, 3, 1)
        assert status["working"] == [{"name": "bob", "recent": 1}]
        assert status["eta"] == ""
        assert "1 person is judging, and 2 judgments are left." in status["outlook"]
        assert "1 more judgment needs a person other than bob." in status["outlook"]
        self.assertContains(response, "1 person is judging, and 2 judgments are left.")
        assert response.context["judged"] == 1
        self.assertContains(response, "The answers are the same")

    def test_another_project_s_work_does_not_count(self) -> None:
        other = builders.project(self.charlie, "Other")
        builders.join(other, self.bob, "annotator")
        builders.items(other, 2)
        builders.judgment(other, self.bob)
        live = analytics.queue_status(self.project)
        assert (live["total"], live["done"], live["last_hour"], live["working"]) == (0, 0, 0, [])
        assert time_steps.judgment_span(self.project, NO_FILTERS) is None
        assert analytics.skips_by_reason(self.project) == []
        assert {work.total for _, work in analytics.member_activity(self.project)} == {0}
        assert analytics.new_judgment_count(self.project, None) == 0
        assert analytics.new_judgment_count(other, None) == 1

    def test_its_queries_do_not_grow_with_the_people(self) -> None:
        self.sign_in(self.alice)
        for n in range(5):
            builders.join(self.project, builders.user(f"person-{n}"), "annotator")
        # user; membership; whether it is large; from when to when (there is no rate, as nothing was judged); agreement,
        # degrees, skips, who did what today, people and what they did; slots, who is at work; the filters' tags, people, versions
        # (the session is in the cache)
        with self.assertNumQueries(15):
            self.client.get(reverse("progress", args=[self.project.slug]))

    def test_for_htmx_it_is_its_figures_alone_with_the_filters(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        url = reverse("progress", args=[self.project.slug])
        response = self.client.get(url, {"days": "7", "annotator": "dana"}, headers={"HX-Request": "true"})
        self.assertNotContains(response, "<html")
        self.assertContains(response, "0 total")
        assert self.client.get(url, {"days": "7", "annotator": "bob"}).context["judged"] == 1
