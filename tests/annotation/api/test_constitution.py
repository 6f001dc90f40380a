"""A project's constitution over the API."""

from __future__ import annotations

from annotation.models import Constitution
from tests.annotation.api.base import ApiTestCase

PATH = "projects/helpfulness/constitution/"
KIND = {"key": "kind", "compare": "Which answer is kinder?"}
WARM = {"key": "warm", "comment": {"start": "That was", "good": "warm", "bad": "rude", "also": "complete"}}


class ConstitutionApiTests(ApiTestCase):
    def test_leads_change_it_and_reviewers_read_every_version(self) -> None:
        assert self.get(PATH, self.dana).json() == []
        answer = self.post(PATH, self.alice, {"principles": [KIND]})
        assert answer.status_code == 200, answer.content
        self.post(PATH, self.alice, {"principles": [KIND, WARM]})
        self.post(PATH, self.alice, {"principles": [KIND, WARM]})
        latest, first = self.get(PATH, self.dana).json()
        assert (latest["version"], first["version"]) == (2, 1)
        assert first["principles"] == [{"tag": "", "critique": "", "revise": ""} | KIND]
        assert latest["principles"][1]["comment"] == WARM["comment"]
        # what is read can be sent again
        self.post(PATH, self.alice, {"principles": latest["principles"]})
        assert Constitution.objects.count() == 2

    def test_what_is_wrong_is_named(self) -> None:
        for principles, sentence in (
            ([], "at least one principle"),
            ([KIND, {"key": "brief"}], "Principle 2 (brief), compare: Write the question"),
            ([KIND | {"comment": {"start": "x"}}], "Principle 1 (kind), comment.good: A comment needs"),
        ):
            self.refused(self.post(PATH, self.alice, {"principles": principles}), 400, "principles", sentence)
        assert not Constitution.objects.exists()
