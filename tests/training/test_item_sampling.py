"""Which items a round adds to the queue, and for how many annotators."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from annotation.models import Item, Project, Slot
from tests import builders
from tests.base import PalateTestCase
from tests.training.round_helpers import LENIENT, finish_runs, make_loop
from training.registry.actions import add_model
from training.rounds import transitions


class RepeatedItemTests(PalateTestCase):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(self.settings(ARTIFACTS=Path(folder)))

    def sent_items(self, project: Project, **options: object) -> list[int]:
        """For each item of a first round with a policy but no answers, the number of its annotators."""
        add_model(project=project, kind="policy", name="first", location="hub:x/y@main")
        builders.imported(project, *({"id": f"p{n}", "prompt": f"What is {n}?"} for n in range(60)))
        started = transitions.start_round(
            loop=make_loop(project, self.alice, options=LENIENT | options), creator=self.alice
        )
        finish_runs(started)
        transitions.advance(started.pk)
        annotators = Counter(Slot.objects.filter(project=project).values_list("item_id", flat=True))
        return [
            annotators[item] for item in Item.objects.filter(project=project).values_list("pk", flat=True)
        ]

    def test_some_items_get_one_more_annotator_within_the_budget(self) -> None:
        counts = self.sent_items(builders.project(self.alice, k=3), budget=40, repeat_share=0.5)
        assert len(counts) == 26, "40 judgments, one and a half an item"
        assert set(counts) == {1, 2}
        assert 5 <= counts.count(2) <= 20

    def test_repeated_items_get_one_more_than_the_overlap(self) -> None:
        counts = self.sent_items(builders.project(self.alice, k=3, overlap=2), budget=30, repeat_share=1.0)
        assert counts == [3] * 10

    def test_without_repeated_items_all_have_the_overlap(self) -> None:
        counts = self.sent_items(builders.project(self.alice, k=3, overlap=2), budget=30, repeat_share=0.0)
        assert counts == [2] * 15
