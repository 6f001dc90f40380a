"""Reminding people: who may, whom, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from annotation.actions import notifications, reminders, rules
from annotation.actions.reminders import ReminderError
from annotation.models import AuditEntry, Member, Notification
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class RemindersTests(AccessTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.erin = builders.user("erin")
        builders.join(cls.project, cls.erin, Member.Role.ANNOTATOR)
        builders.items(cls.project, 3)

    @property
    def url(self) -> str:
        return reverse("remind", args=[self.project.slug])

    def remind(self, *users: object) -> reminders.Reminded:
        return reminders.remind(
            project=self.project,
            users=[user.pk for user in users],  # type: ignore[attr-defined]
            actor=self.alice,
        )

    def reminded(self) -> set[str]:
        rows = Notification.objects.filter(kind="reminder", project=self.project)
        return set(rows.values_list("user__username", flat=True))

    def test_leads_remind_and_nobody_else(self) -> None:
        self.check(Endpoint("remind", get=200, post=422))
        self.check(Endpoint("remind", get=200, post=302, data={"users": [self.bob.pk]}))
        assert self.reminded() == {"bob"}

    def test_who_is_chosen_is_notified_and_it_is_audited(self) -> None:
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url), "Nobody has judged yet")
        answer = self.client.post(self.url, {"users": [self.bob.pk, self.erin.pk]}, follow=True)
        self.assertContains(answer, "2 people were reminded.")
        assert self.reminded() == {"bob", "erin"}
        assert Notification.objects.filter(user=self.bob).get().url == reverse(
            "work", args=[self.project.slug]
        )
        entries = AuditEntry.objects.filter(verb="member.reminded")
        assert {(entry.actor, entry.subject) for entry in entries} == {
            (self.alice, self.bob.pseudonym),
            (self.alice, self.erin.pseudonym),
        }

    def test_nobody_is_reminded_twice_within_half_a_day_even_if_they_read_it(self) -> None:
        self.remind(self.bob)
        notifications.mark_read(user=self.bob)
        again = self.remind(self.bob, self.erin)
        assert [member.user for member in again.sent] == [self.erin]
        assert [member.user for member in again.left_out] == [self.bob]
        with pytest.raises(ReminderError, match="Nobody was reminded"):
            self.remind(self.bob, self.erin)
        assert Notification.objects.filter(kind="reminder").count() == 2
        Notification.objects.update(created_at=timezone.now() - timedelta(hours=12, minutes=1))
        assert len(self.remind(self.bob, self.erin).sent) == 2

    def test_another_project_s_reminder_does_not_count(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        builders.items(other, 1)
        reminders.remind(project=other, users=[self.bob.pk], actor=self.alice)
        assert len(self.remind(self.bob).sent) == 1

    def test_who_is_paused_or_has_nothing_left_is_left_out(self) -> None:
        for _ in range(3):
            builders.judgment(self.project, self.erin)
        with pytest.raises(ReminderError, match="nothing left to judge"):
            self.remind(self.erin, self.bob)
        builders.items(self.project, 1, prefix="new")
        rules.pause(
            member=Member.objects.get(project=self.project, user=self.bob), reason="Rest.", actor=self.alice
        )
        assert [member.user for member in self.remind(self.erin, self.bob).sent] == [self.erin]
        self.sign_in(self.alice)
        page = self.client.get(self.url)
        self.assertContains(page, "paused")
        self.assertContains(page, "reminded ")

    def test_bad_choices_are_refused_and_nobody_is_told(self) -> None:
        self.sign_in(self.alice)
        for users in ([], [self.charlie.pk], [self.bob.pk, self.charlie.pk], ["x"], ["9" * 30], [10**9]):
            with self.subTest(users):
                page = self.client.post(self.url, {"users": users})
                assert page.status_code == 422
                assert page.context["error"].field == "users"
        with pytest.raises(ReminderError, match="At most 100"):
            reminders.remind(project=self.project, users=range(101), actor=self.alice)
        assert not self.reminded()

    @override_settings(EMAIL_ENABLED=True)
    def test_it_is_in_the_next_digest(self) -> None:
        self.bob.email = "bob@example.org"
        self.bob.save()
        EmailAddress.objects.create(user=self.bob, email=self.bob.email, verified=True, primary=True)
        self.remind(self.bob)
        (digest,) = notifications.take_digests()
        assert "Items are waiting for you" in digest.body

    def test_its_queries_do_not_grow_with_the_people(self) -> None:
        for n in range(6):
            builders.join(self.project, builders.user(f"person-{n}"), Member.Role.ANNOTATOR)
        self.sign_in(self.alice)
        # user; membership; the queue, who is at work; how many annotators, who; who was reminded, for whom something is left
        with self.assertNumQueries(8):
            self.client.get(self.url)
