"""Figures of a large project: the page comes without them, and a worker counts them."""

from __future__ import annotations

from queue import Empty
from unittest import mock

from celery import current_app
from kombu.exceptions import OperationalError

from annotation import tasks
from annotation.analytics import figures
from tests import opinions
from tests.analytics import AnalyticsTestCase

HTMX = {"HX-Request": "true"}


def work() -> int:
    """Do what the worker was asked for. Returns how many figures those were."""
    count = 0
    with current_app.connection_for_read() as connection, connection.SimpleQueue("figures") as queue:
        while True:
            try:
                message = queue.get(block=False)
            except Empty:
                return count
            message.ack()
            if message.headers["task"] == tasks.count_figure.name:
                tasks.count_figure(*message.payload[0])
                count += 1


class LaterTests(AnalyticsTestCase):
    """The pages, and a word of each one's figures."""

    def setUp(self) -> None:
        super().setUp()
        self.judged([[1, 2, 3], [3, 2, 1]])
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.9)
        work()

    def pages(self) -> list[tuple[str, str]]:
        return [
            (self.url("progress"), "Ties per ranking"),
            (self.url("quality"), "Gold accuracy"),
            (self.url("annotator", "bob"), "Within a session"),
            (self.url("ai-feedback"), "Same after swap"),
            (self.url("opinion-set", 1), "Weight of an opinion"),
        ]

    def test_a_large_project_s_page_comes_at_once_and_asks_until_a_worker_has_counted(self) -> None:
        self.sign_in(self.dana)
        with mock.patch.multiple(figures, LARGE=1, MIN_LIFETIME_S=60):
            for url, word in self.pages():
                with self.subTest(url):
                    page = self.client.get(url, {"days": "7"})
                    self.assertNotContains(page, word)
                    self.assertContains(page, f'hx-get="{url}?days=7" hx-trigger="load"')
                    self.assertContains(page, 'href="?days=7&amp;now=1"')
                    assert work() <= 1, "the tags to filter by"
                    self.assertContains(self.client.get(url, {"now": "1"}), "A worker is counting")
                    for _ in range(3):  # some figures need others first
                        part = self.client.get(url, headers=HTMX)
                        if not work():
                            break
                        self.assertContains(part, f'hx-get="{url}" hx-trigger="load delay:2s"')
                    self.assertContains(part, word)
                    self.assertContains(part, '<p class="muted small">Counted ')
                    self.assertNotContains(part, "<html")
                    self.assertContains(self.client.get(url, {"now": "1"}), word)

    def test_old_figures_are_shown_while_a_worker_counts_again(self) -> None:
        self.sign_in(self.dana)
        url, n = self.url("api-quality"), 2
        with mock.patch.multiple(figures, LARGE=1, MIN_LIFETIME_S=60):
            refusal = self.client.get(url)
            assert refusal.status_code == 503
            assert refusal.headers["Retry-After"] == "5"
            assert "A worker counts the figures" in refusal.json()["detail"]
            assert work() == 4
            assert sum(row["judgments"] for row in self.client.get(url).json()["annotators"]) == n
            assert work() == 0
            self.judged([[1, 2, 3], [3, 2, 1]])
            with mock.patch.object(figures, "MAX_LIFETIME_S", 0):
                for counted in (n, n + 2):
                    found = self.client.get(url).json()["annotators"]
                    assert sum(row["judgments"] for row in found) == counted
                    assert work() == 4

    def test_without_a_broker_a_page_waits(self) -> None:
        self.sign_in(self.dana)
        with (
            mock.patch.object(figures, "LARGE", 1),
            mock.patch.object(current_app, "send_task", side_effect=OperationalError),
        ):
            part = self.client.get(self.url("quality"), headers=HTMX)
        self.assertContains(part, "A worker is counting")

    def test_a_worker_counts_as_seen_from_the_reader_s_time_zone(self) -> None:
        self.dana.time_zone = "Asia/Kolkata"
        self.dana.save()
        self.sign_in(self.dana)
        whole = self.client.get(self.url("progress")).content
        with mock.patch.object(figures, "LARGE", 1):
            for _ in range(3):
                part = self.client.get(self.url("progress"), headers=HTMX)
                work()
        drawn = part.content[part.content.index(b'aria-labelledby="work"') :].split(b"</section>")[0]
        assert b"times in Asia/Kolkata" in drawn
        assert drawn in whole

    def test_a_small_project_s_page_has_them(self) -> None:
        self.sign_in(self.dana)
        with mock.patch.object(figures, "LARGE", 2):
            for url, word in self.pages():
                with self.subTest(url):
                    page = self.client.get(url)
                    self.assertContains(page, word)
                    self.assertNotContains(page, 'class="stack deferred"')
                    assert not work()

    def test_a_person_s_figures_are_refused_as_their_page_is(self) -> None:
        self.sign_in(self.bob)
        for url, _ in self.pages():
            assert self.client.get(url, headers=HTMX).status_code == 403
