"""Opinion sets and the report on a judge, over the API."""

from __future__ import annotations

import pytest

from annotation.models import Prompt
from tests import builders, opinions
from tests.annotation.api.base import ApiTestCase


class OpinionSetsTests(ApiTestCase):
    def setUp(self) -> None:
        self.project.overlap = 2
        self.project.save()
        self.here = f"projects/{self.project.slug}/opinion-sets/"

    def held_out(self, count: int) -> None:
        builders.items(self.project, count, k=2)
        Prompt.objects.update(split="held_out")

    def test_sets_are_listed_newest_first(self) -> None:
        self.held_out(3)
        for name in ("one", "two"):
            opinions.opinion_set(self.project, self.alice, lambda first, second: 0.7, name=name)
        sets = self.get(self.here, self.dana).json()["results"]
        assert [(one["number"], one["judge"], one["constitution"]) for one in sets] == [
            (2, "two", None),
            (1, "one", None),
        ]
        assert sets[0]["counts"] == {"prompts": 3, "comparisons": 3, "opinions": 3, "no_opinion": 0}

    def test_a_set_has_its_report(self) -> None:
        self.held_out(3)
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.7)
        for person in (self.bob, self.dana):
            for _ in range(3):
                builders.judgment(self.project, person)
        report = self.get(f"{self.here}1/", self.dana).json()["report"]
        assert (report["pairs"], report["votes"], report["agreement"]["value"]) == (3, 6, 1.0)
        assert report["comparison"]["people"]["value"] == report["comparison"]["ratio"]["value"] == 1.0
        assert (report["counts"], report["weight"]) == (False, 0)
        assert "may be chance" in report["verdict"]
        assert report["reliability"] == [{"confidence": pytest.approx(0.7), "accuracy": 1.0, "pairs": 3}]

    def test_a_set_without_judgments_and_an_unbounded_interval_are_valid_json(self) -> None:
        self.held_out(1)
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.7)
        report = self.get(f"{self.here}1/", self.dana).json()["report"]
        assert (report["comparison"], report["agreement"], report["disagreements"]) == (None, None, [])
        for person in (self.bob, self.dana):
            builders.judgment(self.project, person)
        ratio = self.get(f"{self.here}1/", self.dana).json()["report"]["comparison"]["ratio"]
        assert (ratio["value"], ratio["low"], ratio["high"]) == (1.0, 0.0, None)

    def test_a_number_that_is_none_is_not_found(self) -> None:
        for number in (9, 2**40):
            assert self.get(f"{self.here}{number}/", self.dana).status_code == 404
