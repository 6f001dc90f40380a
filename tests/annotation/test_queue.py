from __future__ import annotations

import pytest

from annotation.actions import queue
from annotation.actions.queue import ItemSpec, QueueError
from annotation.models import Item, Slot
from tests import builders
from tests.annotation.queue_case import QueueTestCase


class EnqueueTests(QueueTestCase):
    def test_it_makes_as_many_slots_as_judgments_are_wanted(self) -> None:
        self.set_overlap(3)
        builders.items(self.project, 2)
        assert Slot.objects.filter(project=self.project, state="open").count() == 6

    def test_it_refuses_an_item_of_one_and_an_item_with_a_double(self) -> None:
        builders.items(self.project, 1)
        prompt = self.project.prompts.get()
        one, two, *_ = prompt.responses.values_list("pk", flat=True)
        for responses in ([one], [one, two, one]):
            with pytest.raises(QueueError, match="different responses"):
                queue.enqueue(project=self.project, specs=[ItemSpec(prompt.pk, responses)])
        assert Item.objects.count() == 1
