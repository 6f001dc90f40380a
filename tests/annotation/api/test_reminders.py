from __future__ import annotations

from django.utils import timezone

from annotation.actions.reminders import MAX_PEOPLE
from annotation.models import Member, Notification
from tests import builders
from tests.annotation.api.base import ApiTestCase

PATH = "projects/helpfulness/reminders/"


class ReminderTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)
        self.erin = builders.join(self.project, builders.user("erin"), "annotator")
        Member.objects.filter(pk=self.erin.pk).update(paused_at=timezone.now())

    def test_it_says_who_may_be_reminded(self) -> None:
        bob, erin = self.get(PATH, self.alice).json()["results"]
        assert (bob["username"], bob["has_items"], bob["may_be_reminded"]) == ("bob", True, True)
        assert (erin["username"], bool(erin["paused_at"]), erin["may_be_reminded"]) == ("erin", True, False)
        assert bob["reminded_at"] is None

    def test_people_are_reminded_and_who_is_left_out_is_named(self) -> None:
        answer = self.post(PATH, self.alice, {"users": ["bob", "erin"]})
        assert (answer.status_code, answer.json()) == (201, {"sent": ["bob"], "left_out": ["erin"]})
        (told,) = Notification.objects.filter(kind="reminder")
        assert told.user == self.bob
        bob, _ = self.get(PATH, self.alice).json()["results"]
        assert bob["reminded_at"]
        assert not bob["may_be_reminded"]
        self.refused(self.post(PATH, self.alice, {"users": ["bob"]}), 400, "users", "Nobody was reminded")

    def test_only_members_are_reminded_and_not_too_many(self) -> None:
        self.refused(self.post(PATH, self.alice, {"users": ["charlie"]}), 400, "users", "not a member")
        for users in ([], ["bob"] * (MAX_PEOPLE + 1), "bob", None):
            self.refused(self.post(PATH, self.alice, {"users": users}), 400, "users")
        assert not Notification.objects.filter(kind="reminder").exists()
