from __future__ import annotations

import pytest

from annotation import queries
from annotation.actions import drafts, items, skips
from annotation.actions.queue import QueueError
from annotation.models import AuditEntry, Draft, Item, Member, Skip, Slot, User
from tests import builders
from tests.annotation.queue_case import GoldTestCase, QueueTestCase, expire


class SkipTests(QueueTestCase):
    def test_it_gives_the_item_to_somebody_else_and_never_again_to_the_same(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        drafts.save_draft(lease=lease, data={"ranks": {}})
        skips.skip(lease=lease, reason="all_bad")
        assert Skip.objects.get().reason == "all_bad"
        assert not Draft.objects.exists()
        assert self.nothing_for(self.bob)
        assert self.claim(self.dana).item_id == lease.item_id

    def test_skipping_twice_changes_nothing(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        skips.skip(lease=lease, reason="all_bad")
        danas = self.claim(self.dana)
        skips.skip(lease=lease, reason="broken")
        assert Skip.objects.get().reason == "all_bad"
        assert self.claim(self.dana).token == danas.token

    def test_it_refuses_an_unknown_reason(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        with pytest.raises(QueueError, match="'bored' is not a reason"):
            skips.skip(lease=lease, reason="bored")
        assert Slot.objects.get(pk=lease.slot_id).state == "leased"

    def test_a_skip_after_the_lease_ran_out_counts_too(self) -> None:
        self.set_overlap(2)
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        danas = self.claim(self.dana)
        skips.skip(lease=lease, reason="unsafe")
        assert self.nothing_for(self.bob)
        assert self.claim(self.dana).token == danas.token

    def test_it_does_not_undo_a_judgment_from_another_tab(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        builders.submit(lease)
        skips.skip(lease=lease, reason="unsafe")
        assert not Skip.objects.exists()
        assert Slot.objects.get().state == "done"


class RoutingTests(GoldTestCase):
    def skip(self, user: User, reason: str) -> None:
        skips.skip(lease=self.claim(user), reason=reason)

    def test_unsafe_to_read_is_for_reviewers_at_once(self) -> None:
        builders.items(self.project, 1)
        carol = builders.user("carol")
        builders.join(self.project, carol, Member.Role.ANNOTATOR)
        self.skip(self.bob, "unsafe")
        assert Item.objects.get().state == "restricted"
        assert self.nothing_for(carol)
        assert self.left_for(carol) == 0
        assert self.claim(self.dana)
        entry = AuditEntry.objects.get(verb="item.restricted")
        assert (entry.actor, entry.data["reason"]) == (None, "Unsafe to read (skipped 1 times)")

    def test_the_same_answers_are_for_nobody_once_two_say_so(self) -> None:
        builders.items(self.project, 1)
        self.skip(self.bob, "identical")
        assert Item.objects.get().state == "open"
        self.skip(self.dana, "identical")
        item = Item.objects.get()
        assert (item.state, item.retired_reason) == ("retired", "The answers are the same (skipped 2 times)")
        assert self.nothing_for(self.alice)
        assert queries.progress(self.project).total == 0

    def test_who_has_it_on_the_screen_may_still_say_something(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        items.retire(item=Item.objects.get(), actor=self.alice, reason="A test.")
        assert builders.submit(lease).slot_id is None

    def test_what_is_retired_stays_retired(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        for reason in ("First.", "Second."):
            items.retire(item=Item.objects.get(), actor=self.alice, reason=reason)
        skips.skip(lease=lease, reason="review")
        item = Item.objects.get()
        assert (item.state, item.retired_reason) == ("retired", "First.")
        assert AuditEntry.objects.filter(verb="item.retired").count() == 1

    def test_a_lead_puts_it_back(self) -> None:
        self.set_overlap(2)
        builders.items(self.project, 1)
        Slot.objects.update(priority=5)
        builders.judgment(self.project, self.alice)
        item = Item.objects.get()
        items.retire(item=item, actor=self.alice, reason="A test.")
        items.reopen(item=item, actor=self.alice)
        assert sorted(Slot.objects.values_list("state", "priority")) == [("done", 5), ("open", 5)]
        assert self.claim(self.bob)
        assert AuditEntry.objects.get(verb="item.reopened").actor == self.alice

    def test_after_that_its_old_skips_count_no_more(self) -> None:
        builders.items(self.project, 1)
        self.skip(self.bob, "review")
        items.reopen(item=Item.objects.get(), actor=self.alice)
        assert not Slot.objects.filter(restricted=True).exists()
        assert Skip.objects.get().resolved_at is not None
        self.skip(self.dana, "cannot_judge")
        assert Item.objects.get().state == "open"

    def test_a_skip_keeps_its_note_and_what_was_said(self) -> None:
        builders.items(self.project, 1)
        skips.skip(lease=self.claim(self.bob), reason="review", note=" B lies. ", data={"ranks": {"1": 1}})
        skip = Skip.objects.get()
        assert (skip.note, skip.data) == ("B lies.", {"ranks": {"1": 1}})
