"""The cache in Redis, and the site while Redis is away."""

from __future__ import annotations

from contextvars import Context

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings
from django.urls import reverse
from redis.exceptions import RedisError

from annotation.models import Judgment
from config.health import quick_redis
from tests import builders
from tests.annotation.judging import JudgingTestCase

AWAY = {"default": settings.CACHES["default"] | {"LOCATION": "unix:///nowhere/valkey.sock"}}


class AwayTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)
        self.away = override_settings(CACHES=AWAY)
        self.away.enable()
        self.addCleanup(self.away.disable)

    def test_people_judge_on(self) -> None:
        answer = self.send(self.ranked(self.open(), 1, 2, 3, 4))
        assert answer.status_code == 200
        assert Judgment.objects.get().annotator == self.bob

    def test_leads_watch_on(self) -> None:
        self.away.disable()
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        self.away.enable()
        for name in ("project", "progress", "quality", "items", "members", "models", "rounds", "snapshots"):
            assert self.client.get(reverse(name, args=[self.project.slug])).status_code == 200, name

    def test_who_signs_in_is_asked_to_come_back(self) -> None:
        self.client.cookies.clear()
        self.client.raise_request_exception = False
        given = {"login": "bob", "password": "correct horse"}
        answer = self.client.post(reverse("account_login"), given)
        self.assertContains(answer, "Temporarily unavailable", status_code=503)

    def test_what_is_more_than_a_copy_is_not_lost_silently(self) -> None:
        for call in (lambda: cache.add("key", 1), lambda: cache.incr("key"), lambda: cache.delete("key")):
            with pytest.raises(RedisError):
                call()


def test_requests_share_their_connections() -> None:
    with quick_redis() as redis:
        cache.set("key", "value")
        before = redis.info("stats")["total_connections_received"]
        values = [Context().run(lambda: cache.get("key")) for _ in range(5)]  # as requests under ASGI
        after = redis.info("stats")["total_connections_received"]
    assert (values, after) == (["value"] * 5, before)
