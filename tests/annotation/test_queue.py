from __future__ import annotations

from annotation.actions import queue
from tests import builders
from tests.base import PalateTestCase


class ClaimTests(PalateTestCase):
    def test_it_gives_the_same_item_again_until_it_is_judged(self) -> None:
        builders.items(self.project, 3)
        first = queue.claim(project=self.project, annotator=self.bob)
        again = queue.claim(project=self.project, annotator=self.bob)
        assert first is not None
        assert again is not None
        assert (first.slot_id, first.token, first.shown_order) == (
            again.slot_id,
            again.token,
            again.shown_order,
        )

    def test_it_gives_different_items_to_different_people(self) -> None:
        builders.items(self.project, 2)
        leases = [queue.claim(project=self.project, annotator=who) for who in (self.bob, self.dana)]
        assert len({lease.item_id for lease in leases if lease}) == 2
        assert queue.claim(project=self.project, annotator=self.alice) is None

    def test_a_judgment_empties_the_queue(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob, [2, 1, 2, 4])
        assert queue.claim(project=self.project, annotator=self.bob) is None
