"""Guidelines in the API."""

from __future__ import annotations

from annotation.models import Guideline
from tests.annotation.api.base import ApiTestCase


class GuidelinesTests(ApiTestCase):
    def test_a_new_text_is_a_new_version_and_the_same_is_none(self) -> None:
        here = f"projects/{self.project.slug}/guidelines/"
        before = self.get(here, self.bob).json()[0]["number"]
        new = self.post(here, self.alice, {"text": "Be *kind*."})
        assert (new.status_code, new.json()["number"]) == (201, before + 1)
        again = self.post(here, self.alice, {"text": "Be *kind*."})
        assert (again.status_code, again.json()["number"]) == (200, before + 1)
        newest = Guideline.objects.filter(project=self.project).latest("number")
        assert (newest.author, newest.html) == (self.alice, "<p>Be <em>kind</em>.</p>\n")
        self.refused(self.post(here, self.alice, {"text": " "}), 400, "text", "blank")
