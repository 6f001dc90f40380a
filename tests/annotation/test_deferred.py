"""Pages of a large project come without their figures, and ask for them."""

from __future__ import annotations

from unittest import mock

from annotation.views import deferred
from tests import opinions
from tests.analytics import AnalyticsTestCase

HTMX = {"HX-Request": "true"}


class LaterTests(AnalyticsTestCase):
    """The pages, and a word of each one's figures."""

    def pages(self) -> list[tuple[str, str]]:
        return [
            (self.url("progress"), "Ties per ranking"),
            (self.url("quality"), "Gold accuracy"),
            (self.url("annotator", "bob"), "Within a session"),
            (self.url("ai-feedback"), "Same after swap"),
            (self.url("opinion-set", 1), "Weight of an opinion"),
        ]

    def test_a_large_project_s_page_comes_at_once_and_asks_for_its_figures(self) -> None:
        self.judged([[1, 2, 3], [3, 2, 1]])
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.9)
        self.sign_in(self.dana)
        with mock.patch.object(deferred, "LARGE", 1):
            for url, word in self.pages():
                with self.subTest(url):
                    page = self.client.get(url, {"days": "7"})
                    self.assertNotContains(page, word)
                    self.assertContains(page, f'hx-get="{url}?days=7" hx-trigger="load"')
                    self.assertContains(page, 'href="?days=7&amp;now=1"')
                    figures = self.client.get(url, headers=HTMX)
                    self.assertContains(figures, word)
                    self.assertNotContains(figures, "<html")
                    self.assertContains(self.client.get(url, {"now": "1"}), word)

    def test_a_small_project_s_page_has_them(self) -> None:
        self.judged([[1, 2, 3], [3, 2, 1]])
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.9)
        self.sign_in(self.dana)
        with mock.patch.object(deferred, "LARGE", 2):
            for url, word in self.pages():
                with self.subTest(url):
                    page = self.client.get(url)
                    self.assertContains(page, word)
                    self.assertNotContains(page, 'class="stack deferred"')

    def test_a_person_s_figures_are_refused_as_their_page_is(self) -> None:
        self.sign_in(self.bob)
        for url, _ in self.pages():
            assert self.client.get(url, headers=HTMX).status_code == 403
