"""The cast of every story: Alice leads, Bob annotates, Dana reviews, Charlie is outside."""

from __future__ import annotations

from django.test import TestCase

from annotation.models import Member
from tests import builders


class PalateTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.alice = builders.user("alice", is_staff=True)
        cls.bob = builders.user("bob")
        cls.dana = builders.user("dana")
        cls.charlie = builders.user("charlie")
        cls.project = builders.project(cls.alice)
        builders.join(cls.project, cls.bob, Member.Role.ANNOTATOR)
        builders.join(cls.project, cls.dana, Member.Role.REVIEWER)

    def sign_in(self, user: object) -> None:
        self.client.force_login(user, backend="annotation.backends.AccountBackend")  # type: ignore[arg-type]
