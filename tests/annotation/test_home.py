from __future__ import annotations

from django.urls import reverse
from django.utils import timezone

from annotation.actions import leases
from annotation.models import Member
from tests import builders
from tests.base import PalateTestCase


class HomeTests(PalateTestCase):
    def get(self):
        return self.client.get(reverse("home"))

    def test_it_asks_who_is_there(self) -> None:
        self.assertRedirects(self.get(), f"{reverse('account_login')}?next=/")

    def test_it_only_shows(self) -> None:
        self.sign_in(self.bob)
        assert self.client.post(reverse("home")).status_code == 405

    def test_it_shows_an_annotator_what_is_left(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.bob)
        response = self.get()
        [one] = response.context["work"]
        assert (one.left, one.done, one.total, one.percent) == (2, 1, 3, 33)
        self.assertContains(response, "Start ranking")
        self.assertContains(response, reverse("work", args=[self.project.slug]))
        self.assertNotContains(response, "New project")

    def test_it_leads_back_to_an_open_item(self) -> None:
        builders.items(self.project, 2)
        leases.claim(project=self.project, annotator=self.bob)
        self.sign_in(self.bob)
        response = self.get()
        self.assertContains(response, "Continue")
        assert response.context["work"][0].left == 2

    def test_it_does_not_count_what_others_hold_or_finished(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.dana)
        leases.claim(project=self.project, annotator=self.dana)
        self.sign_in(self.bob)
        [one] = self.get().context["work"]
        assert one.left == 1

    def test_it_offers_nothing_to_start_where_nothing_is_left(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.bob)
        self.assertContains(self.get(), "No items left for you")
        self.assertNotContains(self.get(), "Start ranking")

    def test_who_is_paused_is_not_asked_to_start(self) -> None:
        builders.items(self.project, 1)
        Member.objects.filter(user=self.bob).update(paused_at=timezone.now())
        self.sign_in(self.bob)
        self.assertContains(self.get(), "You get no items here for now")
        self.assertContains(self.get(), "See why")
        self.assertNotContains(self.get(), "Start ranking")

    def test_it_puts_projects_with_work_first(self) -> None:
        other = builders.project(self.alice, "Zebra")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        builders.items(other, 1)
        self.sign_in(self.bob)
        assert [one.project.name for one in self.get().context["work"]] == ["Zebra", "Helpfulness"]

    def test_it_shows_a_lead_what_they_lead(self) -> None:
        builders.items(self.project, 2)
        self.sign_in(self.alice)
        response = self.get()
        assert not response.context["work"]
        assert [one.project for one in response.context["led"]] == [self.project]
        self.assertContains(response, "0 of 2 judgments")
        self.assertContains(response, "New project")
        self.assertContains(response, "Nobody has judged yet.")
        builders.judgment(self.project, self.bob)
        builders.age_judgments(self.project, hours=3)
        self.assertContains(self.get(), "Last judgment 3\u00a0hours ago.")
        builders.judgment(self.project, self.bob)
        self.assertContains(self.get(), "Everything in the queue is judged.")

    def test_it_tells_an_outsider_what_happens_next(self) -> None:
        self.sign_in(self.charlie)
        response = self.get()
        self.assertContains(response, "You are not in a project yet")
        self.assertNotContains(response, self.project.name)

    def test_it_shows_my_day_and_nobody_else_s(self) -> None:
        builders.items(self.project, 4)
        for who in (self.bob, self.bob, self.dana):
            builders.judgment(self.project, who)
        self.sign_in(self.bob)
        response = self.get()
        assert response.context["day"].items == 2
        assert [tick.label for tick in response.context["chart"].x_ticks] == [
            "0:00",
            "6:00",
            "12:00",
            "18:00",
        ]
        hours = response.context["chart"].points
        assert sum(hour.point.value for hour in hours) == 2
        assert [hour.height for hour in hours] == [25 * hour.point.value for hour in hours], "of four"

    def test_it_does_not_ask_more_of_the_database_for_more_projects(self) -> None:
        for n in range(3):
            builders.join(builders.project(self.alice, f"More {n}"), self.bob, Member.Role.ANNOTATOR)
        self.sign_in(self.bob)
        self.get()
        # the session's user 1, what is left and done by project 1, memberships 1, my day 1
        with self.assertNumQueries(4):
            self.get()
