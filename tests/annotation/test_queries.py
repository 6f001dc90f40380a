from __future__ import annotations

from datetime import timedelta

from annotation import queries
from annotation.actions import queue
from annotation.models import Slot
from tests import builders
from tests.annotation.test_queue import run_out
from tests.base import PalateTestCase


class ProgressTests(PalateTestCase):
    def test_it_counts_wanted_judgments(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2)
        empty = queries.progress(self.project)
        assert (empty.wanted, empty.done, empty.left, empty.percent, empty.eta) == (4, 0, 4, 0, None)
        builders.judgment(self.project, self.bob)
        lease = queue.claim(project=self.project, annotator=self.bob)
        now = queries.progress(self.project)
        assert (now.wanted, now.done, now.left, now.leased, now.last_hour, now.percent) == (4, 1, 3, 1, 1, 25)
        assert now.eta == timedelta(hours=3)
        run_out(lease)
        assert queries.progress(self.project).leased == 0

    def test_what_is_left_for_someone_is_what_they_can_still_get(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3)
        assert queries.left_for(self.project, self.bob) == 3
        builders.judgment(self.project, self.bob)
        queue.skip(lease=queue.claim(project=self.project, annotator=self.bob), reason="broken")
        assert queries.left_for(self.project, self.bob) == 1
        assert queries.left_for(self.project, self.dana) == 3
        Slot.objects.filter(state="open").update(priority=1)
        while queue.claim(project=self.project, annotator=self.bob) is not None:
            builders.judgment(self.project, self.bob)
        assert queries.left_for(self.project, self.bob) == 0
