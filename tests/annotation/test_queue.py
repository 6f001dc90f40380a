from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotation.actions import drafts, leases, queue, skips
from annotation.actions.leases import Lease
from annotation.actions.queue import ItemSpec, QueueError
from annotation.models import Draft, Item, Member, Skip, Slot, User
from tests import builders
from tests.base import PalateTestCase


def run_out(lease: Lease) -> None:
    """An hour goes by."""
    Slot.objects.filter(pk=lease.slot_id).update(leased_until=timezone.now() - timedelta(minutes=1))


class QueueTestCase(PalateTestCase):
    def claim(self, user: User) -> Lease:
        lease = leases.claim(project=self.project, annotator=user)
        assert lease is not None
        return lease

    def nothing_for(self, user: User) -> bool:
        return leases.claim(project=self.project, annotator=user) is None

    def set_overlap(self, overlap: int) -> None:
        self.project.overlap = overlap
        self.project.save()


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


class ClaimTests(QueueTestCase):
    def test_it_gives_the_same_item_again_until_it_is_judged(self) -> None:
        builders.items(self.project, 3)
        first, again = self.claim(self.bob), self.claim(self.bob)
        assert (first.slot_id, first.token, first.shown_order) == (
            again.slot_id,
            again.token,
            again.shown_order,
        )

    def test_it_gives_different_items_to_different_people(self) -> None:
        builders.items(self.project, 2)
        assert self.claim(self.bob).item_id != self.claim(self.dana).item_id
        assert self.nothing_for(self.alice)

    def test_a_judgment_empties_the_queue(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob, [2, 1, 2, 4])
        assert self.nothing_for(self.bob)

    def test_it_shows_every_response_once_in_an_order_of_chance(self) -> None:
        builders.items(self.project, 40, k=4)
        orders = set()
        for _ in range(20):
            lease = self.claim(self.bob)
            ids = sorted(lease.shown_order)
            candidates = Item.objects.get(pk=lease.item_id).candidates.values_list("response_id", flat=True)
            assert ids == sorted(candidates)
            orders.add(tuple(ids.index(id) for id in lease.shown_order))
            skips.skip(lease=lease, reason="cannot_judge")
        assert len(orders) > 5

    def test_the_urgent_come_first(self) -> None:
        builders.items(self.project, 30)
        urgent = Slot.objects.filter(project=self.project).last()
        Slot.objects.filter(pk=urgent.pk).update(priority=5)
        assert self.claim(self.bob).slot_id == urgent.pk

    def test_nobody_gets_an_item_twice_however_many_judgments_it_wants(self) -> None:
        self.set_overlap(3)
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        assert self.nothing_for(self.bob)
        builders.judgment(self.project, self.dana)
        builders.judgment(self.project, self.alice)
        assert list(Slot.objects.values_list("state", flat=True)) == ["done"] * 3
        late = builders.user("late")
        builders.join(self.project, late, Member.Role.ANNOTATOR)
        assert self.nothing_for(late)

    def test_a_lease_that_has_run_out_goes_to_the_next_person(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        assert self.nothing_for(self.dana)
        run_out(lease)
        taken = self.claim(self.dana)
        assert taken.slot_id == lease.slot_id
        assert taken.token != lease.token
        assert self.nothing_for(self.bob)

    def test_who_takes_it_over_begins_anew(self) -> None:
        """With an order and a clock of their own."""
        builders.items(self.project, 1, k=9)
        lease = self.claim(self.bob)
        run_out(lease)
        Slot.objects.update(opened_at=timezone.now() - timedelta(hours=1))
        danas = self.claim(self.dana)
        assert sorted(danas.shown_order) == sorted(lease.shown_order)
        assert danas.shown_order != lease.shown_order  # once in 362,880 times it is
        assert builders.submit(danas).seconds < 60

    def test_a_lease_is_theirs_to_its_end(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        Slot.objects.filter(pk=lease.slot_id).update(leased_until=timezone.now() + timedelta(minutes=1))
        assert self.nothing_for(self.dana)

    def test_who_comes_back_late_to_an_item_that_nobody_took_sees_it_as_it_was(self) -> None:
        builders.items(self.project, 2)
        lease = self.claim(self.bob)
        run_out(lease)
        again = self.claim(self.bob)
        assert (again.slot_id, again.shown_order) == (lease.slot_id, lease.shown_order)
        assert Slot.objects.get(pk=lease.slot_id).leased_until > timezone.now()

    def test_it_leases_for_the_projects_minutes(self) -> None:
        self.project.lease_minutes = 7
        self.project.save()
        builders.items(self.project, 1)
        slot = Slot.objects.get(pk=self.claim(self.bob).slot_id)
        assert timedelta(minutes=6) < slot.leased_until - timezone.now() <= timedelta(minutes=7)

    def test_it_keeps_to_its_project(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.items(other, 1)
        assert self.nothing_for(self.alice)

    def test_it_is_one_statement(self) -> None:
        builders.items(self.project, 1)
        with self.assertNumQueries(1):
            leases.claim(project=self.project, annotator=self.bob)

    def test_the_next_one_is_never_the_item_on_the_screen(self) -> None:
        """Though others are wanted for it, too."""
        self.set_overlap(3)
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=lease) is None

    def test_an_item_judged_too_late_to_count_is_not_given_again(self) -> None:
        """Its judgment stands without a slot; the slot that falls free later is for somebody else."""
        builders.items(self.project, 1)
        late = self.claim(self.bob)
        run_out(late)
        danas = self.claim(self.dana)
        builders.submit(late)
        skips.skip(lease=danas, reason="cannot_judge")
        assert self.nothing_for(self.bob)
        assert self.claim(self.alice).item_id == late.item_id


class TicketTests(QueueTestCase):
    def test_it_comes_back_as_it_was(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        assert Lease.read(lease.ticket(), annotator=self.bob) == lease

    def test_it_is_refused_when_somebody_changed_it(self) -> None:
        builders.items(self.project, 1)
        ticket = self.claim(self.bob).ticket()
        for damaged in (ticket[:-1], "x" + ticket, "", "nonsense", "é\0" + ticket):
            with pytest.raises(QueueError, match="damaged"):
                Lease.read(damaged, annotator=self.bob)

    def test_it_is_for_one_person(self) -> None:
        builders.items(self.project, 1)
        ticket = self.claim(self.bob).ticket()
        with pytest.raises(QueueError, match="someone else"):
            Lease.read(ticket, annotator=self.dana)


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
        run_out(lease)
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
        run_out(lease)
        drafts.save_draft(lease=lease, data={"ranks": {}})
        assert self.nothing_for(self.dana)

    def test_it_keeps_nothing_without_the_lease(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        run_out(lease)
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
        ranks = {f"rank-{response}": n for n, response in enumerate(page["lease"].shown_order, start=1)}
        form = {"ticket": page["ticket"], "key": str(uuid.uuid4()), **ranks}
        # who is there 1 (the session itself is in the cache), membership with the project 1, the submit 1, the claim 1,
        # the item with its prompt and its answers 1, counters, guidelines' version and draft 1
        with self.assertNumQueries(6):
            self.client.post(url, form, headers={"HX-Request": "true"})
        assert Slot.objects.filter(state="done").count() == 1
