"""The cast of every story: Alice leads, Bob annotates, Dana reviews, Charlie is outside."""

from __future__ import annotations

import unittest

from django.core.cache import cache
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

    def __call__(self, result: unittest.TestResult | None = None) -> None:
        cache.clear()  # what a slow machine keeps of one story is none of the next one's
        super().__call__(result)

    def sign_in(self, user: object) -> None:
        self.client.force_login(user, backend="annotation.backends.AccountBackend")  # type: ignore[arg-type]
