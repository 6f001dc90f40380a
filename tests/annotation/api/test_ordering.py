"""Lists of the API in an order that the caller chooses."""

from __future__ import annotations

from typing import Any
from unittest import mock

from celery import current_app
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.http import urlsafe_base64_encode

from annotation.analytics import figures
from annotation.api import ordering
from annotation.models import Agreement, Item, Judgment, User
from tests import builders
from tests.access_cases import policy
from tests.analytics import AnalyticsTestCase
from tests.annotation.api.base import ApiTestCase
from tests.annotation.test_deferred import work
from training.models import ModelVersion
from training.runs.actions import start_run


class OrderingTests(ApiTestCase, AnalyticsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = f"projects/{self.project.slug}/"
        patch = mock.patch.object(ordering, "PAGE_SIZE", 2)
        patch.start()
        self.addCleanup(patch.stop)

    def relative(self, url: str | None) -> str:
        return (url or "").removeprefix("http://testserver/api/v1/")

    def follow(self, path: str, link: str, user: User) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = []
        while path:
            pages.append(self.get(path, user).json())
            path = self.relative(pages[-1][link])
        return pages

    def walk(self, path: str, user: User) -> list[dict[str, Any]]:
        """All rows by following `next`; `previous` leads back over the same pages."""
        pages = self.follow(f"{self.path}{path}", "next", user)
        assert pages[0]["previous"] is None
        back = [
            page["results"] for page in self.follow(self.relative(pages[-1]["previous"]), "previous", user)
        ]
        assert back[::-1] == [page["results"] for page in pages[:-1]]
        return [row for page in pages for row in page["results"]]

    def ids(self, path: str, user: User) -> list[int]:
        return [row["id"] for row in self.walk(path, user)]

    def test_items_have_every_row_once_also_where_many_are_alike(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 3, [[1, 2, 3], [3, 2, 1]])
        self.more_items(1)
        items = sorted(Item.objects.values_list("pk", flat=True))
        differing = Agreement.objects.order_by("share").values_list("item", flat=True)
        worst, unjudged = differing[0], items[-1]
        alike = [pk for pk in items[:-1] if pk != worst]
        assert self.ids("items/", self.dana) == items
        assert self.ids("items/?ordering=item", self.dana) == items
        assert self.ids("items/?ordering=-item", self.dana) == items[::-1]
        # those that nobody or one has judged have none
        assert self.ids("items/?ordering=agreement", self.dana) == [worst, *alike]
        assert self.ids("items/?ordering=-agreement", self.dana) == [*alike[::-1], worst]
        assert self.ids("items/?ordering=-item&state=open", self.dana) == items[::-1]
        assert unjudged not in self.ids("items/?ordering=agreement", self.dana)

    def test_a_page_of_items_reads_no_others(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 4)
        with CaptureQueriesContext(connection) as queries:
            page = self.get(f"{self.path}items/?ordering=agreement", self.dana).json()
        assert [row["done"] for row in page["results"]] == [2, 2]
        ordered = [query["sql"] for query in queries if "ORDER BY" in query["sql"]]
        (first,) = [sql for sql in ordered if "annotation_agreement" in sql]
        assert "GROUP BY" not in first
        assert first.endswith("LIMIT 3")
        assert not any("OFFSET" in query["sql"] for query in queries)

    def test_one_s_own_judgments(self) -> None:
        self.more_items(3)
        for _ in range(3):
            builders.judgment(self.project, self.bob)
        judgments = sorted(Judgment.objects.values_list("pk", flat=True))
        assert self.ids("judgments/mine/", self.bob) == judgments[::-1]
        assert self.ids("judgments/mine/?ordering=judgment", self.bob) == judgments

    def test_members_by_what_they_did(self) -> None:
        self.more_items(1)
        builders.judgment(self.project, self.erin)

        def names(query: str = "") -> list[str]:
            return [row["username"] for row in self.get(f"{self.path}members/{query}", self.alice).json()]

        joined = names()
        assert sorted(joined) == ["alice", "bob", "dana", "erin"]
        assert names("?ordering=person") == sorted(joined)
        assert names("?ordering=-person") == sorted(joined, reverse=True)
        assert names("?ordering=-today")[0] == names("?ordering=-total")[0] == "erin"
        # who has judged nothing comes last either way
        assert names("?ordering=last")[0] == names("?ordering=-last")[0] == "erin"

    def test_in_a_large_project_a_worker_counts_what_members_did(self) -> None:
        self.more_items(2)
        for person in (self.erin, self.bob):
            builders.judgment(self.project, person)
        path = f"{self.path}members/?ordering=-total"
        with current_app.connection_for_read() as broker, broker.SimpleQueue("figures") as queue:
            queue.clear()  # of what earlier tests asked for
        with mock.patch.object(figures, "LARGE", 1):
            assert self.get(path, self.alice).status_code == 503
            assert work() == 1
            assert {row["username"] for row in self.get(path, self.alice).json()[:2]} == {"bob", "erin"}

    def test_models_and_runs(self) -> None:
        first = policy(self.project, "b")
        second = ModelVersion.objects.create(
            project=self.project, kind="reward", name="a", location="file:/a", metrics={"accuracy": 0.7}
        )
        third = ModelVersion.objects.create(
            project=self.project, kind="reward", name="c", location="file:/c", metrics={"accuracy": 0.9}
        )
        assert self.ids("models/", self.dana) == [third.pk, second.pk, first.pk]
        assert self.ids("models/?ordering=name", self.dana) == [second.pk, first.pk, third.pk]
        assert self.ids("models/?ordering=accuracy", self.dana) == [second.pk, third.pk, first.pk]
        assert self.ids("models/?ordering=-accuracy", self.dana) == [third.pk, second.pk, first.pk]
        self.more_items(3)
        runs = [
            start_run(project=self.project, kind="generate", creator=self.alice, model=first).pk
            for _ in range(3)
        ]
        assert self.ids("runs/", self.dana) == runs
        assert self.ids("runs/?ordering=-started", self.dana) == runs[::-1]
        assert self.ids("runs/?ordering=-state", self.dana) == runs[::-1]

    def test_what_is_unknown_is_refused_with_its_name(self) -> None:
        for path in ("items/", "judgments/mine/", "members/", "runs/", "models/"):
            for name in ("nonsense", "", "--item", "prompt"):
                answer = self.get(f"{self.path}{path}?ordering={name}", self.alice)
                self.refused(answer, 400, "ordering", "is none of: ")

    def test_a_cursor_of_another_order_or_none_is_refused(self) -> None:
        self.more_items(3)
        cursor = self.get(f"{self.path}items/", self.dana).json()["next"].split("cursor=")[1]
        damaged = [
            urlsafe_base64_encode(text.encode())
            for text in ("next item x", "up item 1", "next", "next ", "\0")
        ]
        for path in (
            f"items/?ordering=-item&cursor={cursor}",
            *(f"items/?cursor={text}" for text in (*damaged, "%C3%A9", "nonsense", "_")),
            f"models/?cursor={urlsafe_base64_encode(b'next -added 999')}",
        ):
            self.refused(self.get(f"{self.path}{path}", self.dana), 400, "cursor", "begin again")

    def test_rows_that_are_gone_end_the_list_instead_of_beginning_it_again(self) -> None:
        self.more_items(3)
        following = self.relative(self.get(f"{self.path}items/?state=open", self.dana).json()["next"])
        Item.objects.filter(pk=Item.objects.latest("pk").pk).update(state="retired")
        assert self.get(following, self.dana).json()["results"] == []
