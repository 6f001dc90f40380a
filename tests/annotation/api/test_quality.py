"""The figures of the Quality page in the API."""

from __future__ import annotations

import json

from tests import builders
from tests.annotation.api.base import ApiTestCase


class QualityTests(ApiTestCase):
    def test_its_figures_are_those_of_the_page(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3, k=3)
        for person in (self.bob, self.dana):
            for _ in range(3):
                builders.judgment(self.project, person)
        here = f"projects/{self.project.slug}/quality/"
        seen = self.get(here, self.dana).json()
        assert (seen["agreement"]["value"], seen["agreement"]["n"]) == (1.0, 9), json.dumps(seen)
        assert (seen["tau_b"], seen["alpha_ordinal"]["value"], seen["gold"]) == (1.0, 1.0, None)
        by = {one["username"]: one for one in seen["annotators"]}
        assert {name: one["judgments"] for name, one in by.items()} == {"bob": 3, "dana": 3}
        assert (by["bob"]["flags"], by["bob"]["pseudonym"]) == ([], self.bob.pseudonym)
        nobody = self.get(f"{here}?tag=unheard-of", self.dana).json()
        assert (nobody["agreement"], nobody["alpha_ordinal"], nobody["annotators"]) == (None, None, [])
