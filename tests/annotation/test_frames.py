"""The page of an item is put together from a frame that all items of its kind share: each shows its own, and nobody else's."""

from __future__ import annotations

import re

from annotation.actions import drafts, import_rows
from annotation.models import Project
from annotation.views.judging import frames
from tests import builders
from tests.annotation.judging import JudgingTestCase


class FrameTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 3)
        frames._frames.clear()

    def page(self) -> str:
        return self.client.get(self.url()).content.decode()

    def test_a_page_from_a_frame_is_the_page_that_was_rendered_anew(self) -> None:
        anew = self.page()
        assert len(frames._frames) == 1
        kept = self.page()
        assert len(frames._frames) == 1
        assert _without_random_values(kept) == _without_random_values(anew)
        assert frames._MARK not in kept

    def test_each_shows_its_own(self) -> None:
        pages = []
        for user in (self.bob, self.dana):
            self.sign_in(user)
            pages.append((user, self.page(), self.open()))
        assert len(frames._frames) == 1
        (bob, of_bob, first), (dana, of_dana, second) = pages
        assert first["lease"].item_id != second["lease"].item_id
        for user, page, other_user, other in ((bob, of_bob, dana, second), (dana, of_dana, bob, first)):
            assert user.pseudonym in page
            assert other_user.pseudonym not in page
            assert other["item_id"] not in page
            assert not [card.letter for card in other["cards"] if card.response.text in page]

    def test_what_an_annotator_entered_stays_on_their_own_page(self) -> None:
        context = self.open()
        ranks = {"ranks": {str(card.response.pk): 2 for card in context["cards"]}, "rationale": "Only mine."}
        drafts.save_draft(lease=context["lease"], data=ranks)
        assert self.page().count(" checked") > self._checked_of_view()
        self.sign_in(self.dana)
        assert self.page().count(" checked") == self._checked_of_view()
        assert "Only mine." not in self.page()

    def test_it_follows_the_project_s_settings_and_the_user_s(self) -> None:
        self.page()
        Project.objects.update(name="Renamed", lease_minutes=17)
        page = self.page()
        assert 'data-lease-minutes="17"' in page
        assert "Renamed" in page
        type(self.bob).objects.filter(pk=self.bob.pk).update(judging_layout="stacked")
        assert 'value="stacked" checked' in self.page()
        type(self.bob).objects.filter(pk=self.bob.pk).update(judging_keys={"skip": "Z"})
        assert "<kbd>Z</kbd>" in self.page()

    def test_a_text_that_looks_like_a_stand_in_is_a_text(self) -> None:
        stand_in = str(frames.stand_in("pseudonym"))
        builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.bob)
        lines = builders.lines({"prompt": stand_in, "responses": [f"{stand_in} {n}" for n in "abc"]})
        assert not import_rows.import_lines(project=self.project, lines=lines).errors
        for page in (self.page(), self.page()):
            assert page.count(stand_in) == 4

    def test_no_more_are_kept_than_fit(self) -> None:
        for n in range(frames.MAX_FRAMES):
            frames._frames["en", n] = []
        self.page()
        assert len(frames._frames) == 1

    def _checked_of_view(self) -> int:
        """The view's layout and text size."""
        return 2


def _without_random_values(page: str) -> str:
    page = re.sub(r'"X-CSRFToken": "\w+"', "", page)
    return re.sub(r'(name="(?:csrfmiddlewaretoken|ticket|key)" value=)"[^"]*"', r"\1", page)
