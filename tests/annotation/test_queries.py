from __future__ import annotations

import uuid

from annotation import queries
from annotation.actions import items, judgments, leases, skips
from annotation.models import Item, Project, Slot, User
from tests import builders
from tests.annotation.queue_case import expire
from tests.base import PalateTestCase


class ProgressTests(PalateTestCase):
    def test_it_counts_wanted_judgments(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2)
        empty = queries.progress(self.project)
        assert (empty.total, empty.done, empty.left, empty.percent, empty.last) == (4, 0, 4, 0, None)
        builders.judgment(self.project, self.bob)
        lease = leases.claim(project=self.project, annotator=self.bob)
        now = queries.progress(self.project)
        assert (now.total, now.done, now.left, now.leased, now.last_hour, now.percent) == (4, 1, 3, 1, 1, 25)
        assert now.last is not None
        expire(lease)
        assert queries.progress(self.project).leased == 0

    def test_a_change_of_mind_and_a_judgment_that_came_late_are_no_pace(self) -> None:
        builders.items(self.project, 1)
        late = leases.claim(project=self.project, annotator=self.bob)
        expire(late)
        judgment = builders.judgment(self.project, self.dana)
        ranks = dict.fromkeys(judgment.shown_order, 1)
        judgments.revise(judgment=judgment, annotator=self.dana, ranks=ranks, idempotency_key=uuid.uuid4())
        assert builders.submit(late).slot_id is None
        assert queries.progress(self.project).last_hour == 1

    def test_a_judgment_of_a_known_answer_is_no_pace(self) -> None:
        builders.items(self.project, 2)
        item = Item.objects.earliest("pk")
        ranks = {pk: rank for rank, pk in enumerate(item.responses.values_list("pk", flat=True), start=1)}
        items.make_gold(item=item, ranks=ranks, explanation="It is known.", actor=self.alice)
        Project.objects.update(gold_rate=1.0)
        builders.judgment(Project.objects.get(), self.bob)
        assert queries.progress(self.project).last_hour == 0

    def left_for(self, user: User) -> int:
        (mine,) = queries.assignments_of(user)
        return mine.left

    def test_what_is_left_for_someone_is_what_they_can_still_get(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3)
        assert self.left_for(self.bob) == 3
        builders.judgment(self.project, self.bob)
        skips.skip(lease=leases.claim(project=self.project, annotator=self.bob), reason="broken")
        assert self.left_for(self.bob) == 1
        assert self.left_for(self.dana) == 3
        Slot.objects.filter(state="open").update(priority=1)
        while leases.claim(project=self.project, annotator=self.bob) is not None:
            builders.judgment(self.project, self.bob)
        assert self.left_for(self.bob) == 0
