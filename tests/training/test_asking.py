"""What a round puts into the queue, and for how many people."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from annotation.models import Item, Project, Slot
from tests import builders
from tests.base import PalateTestCase
from tests.training.looping import LENIENT, loop, work
from training.registry.actions import add_model
from training.rounds import transitions


class AskingTests(PalateTestCase):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(self.settings(ARTIFACTS=Path(folder)))

    def asked(self, project: Project, **options: object) -> list[int]:
        """How many people are to judge each item of a first round with a policy but no answers yet."""
        add_model(project=project, kind="policy", name="first", location="x")
        builders.imported(project, *({"id": f"p{n}", "prompt": f"What is {n}?"} for n in range(60)))
        started = transitions.start_round(
            loop=loop(project, self.alice, options=LENIENT | options), creator=self.alice
        )
        work(started)
        transitions.advance(started.pk)
        people = Counter(Slot.objects.filter(project=project).values_list("item_id", flat=True))
        return [people[item] for item in Item.objects.filter(project=project).values_list("pk", flat=True)]

    def test_some_items_are_judged_once_more_and_the_budget_pays_for_it(self) -> None:
        counts = self.asked(builders.project(self.alice, k=3), budget=40, repeat_share=0.5)
        assert len(counts) == 26, "40 judgments, one and a half an item"
        assert set(counts) == {1, 2}
        assert 5 <= counts.count(2) <= 20

    def test_once_more_is_beyond_the_project_s_own_overlap(self) -> None:
        counts = self.asked(builders.project(self.alice, k=3, overlap=2), budget=30, repeat_share=1.0)
        assert counts == [3] * 10

    def test_without_a_share_everything_is_judged_as_often_as_the_project_says(self) -> None:
        counts = self.asked(builders.project(self.alice, k=3, overlap=2), budget=30, repeat_share=0.0)
        assert counts == [2] * 15
