from __future__ import annotations

import uuid

from django.urls import reverse

from annotation.actions import drafts
from annotation.models import Draft, Slot
from tests import builders
from tests.annotation.queue_case import QueueTestCase, expire


class DraftTests(QueueTestCase):
    def test_it_keeps_the_latest(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        for rank in (1, 2):
            drafts.save_draft(lease=lease, data={"ranks": {"1": rank}})
        assert Draft.objects.get().data == {"ranks": {"1": 2}}

    def test_it_keeps_the_item_in_their_hands(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        drafts.save_draft(lease=lease, data={"ranks": {}})
        assert self.nothing_for(self.dana)

    def test_it_keeps_nothing_without_the_lease(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        self.claim(self.dana)
        drafts.save_draft(lease=lease, data={"ranks": {}})
        assert not Draft.objects.exists()

    def test_it_is_gone_after_the_judgment(self) -> None:
        builders.items(self.project, 1)
        drafts.save_draft(lease=self.claim(self.bob), data={"ranks": {}})
        builders.judgment(self.project, self.bob)
        assert not Draft.objects.exists()


class HotLoopTests(QueueTestCase):
    def test_a_submit_and_the_next_item_ask_this_much_of_the_database(self) -> None:
        builders.items(self.project, 3)
        self.sign_in(self.bob)
        url = reverse("work", args=[self.project.slug])
        page = self.client.get(url).context
        ranks = {f"rank-{letter}": n for n, letter in enumerate("ABCD", start=1)}
        form = {"ticket": page["ticket"], "key": str(uuid.uuid4()), **ranks}
        # who is there 1 (the session itself is in the cache), membership with the project 1, the submit 1, the claim 1,
        # the item with its prompt and its answers 1, counters, guidelines' version and draft 1
        with self.assertNumQueries(6):
            self.client.post(url, form, headers={"HX-Request": "true"})
        assert Slot.objects.filter(state="done").count() == 1
