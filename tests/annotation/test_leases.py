"""Claiming items: the queue's order, gold items, the control slice, pauses, tickets and renewals."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone

from annotation import queries
from annotation.actions import items, leases, skips
from annotation.actions.leases import Lease, LeaseState, Paused
from annotation.actions.queue import QueueError
from annotation.models import Item, Member, Slot
from tests import builders
from tests.annotation.queue_case import GoldTestCase, QueueTestCase, expire


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
        expire(lease)
        taken = self.claim(self.dana)
        assert taken.slot_id == lease.slot_id
        assert taken.token != lease.token
        assert self.nothing_for(self.bob)

    def test_who_takes_it_over_begins_anew(self) -> None:
        """With an order and a clock of their own."""
        builders.items(self.project, 1, k=9)
        lease = self.claim(self.bob)
        expire(lease)
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
        expire(lease)
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
        builders.items(self.project, 1)
        late = self.claim(self.bob)
        expire(late)
        builders.submit(self.claim(self.dana))
        assert builders.submit(late).slot_id is None
        assert self.nothing_for(self.bob)


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


class GoldTests(GoldTestCase):
    def test_it_is_made_for_each_person_once_and_is_no_progress(self) -> None:
        builders.items(self.project, 3)
        (gold,) = self.gold(1)
        self.settings(gold_rate=1.0)
        for person in (self.bob, self.dana):
            assert self.claim(person).item_id == gold.pk
            assert self.claim(person).item_id == gold.pk
            builders.judgment(self.project, person)
            assert self.claim(person).item_id != gold.pk
        assert queries.progress(self.project).total == 2
        assert queries.progress(self.project).done == 0

    def test_one_that_ran_out_or_was_skipped_goes_to_nobody_else(self) -> None:
        builders.items(self.project, 2)
        (gold,) = self.gold(1)
        self.settings(gold_rate=1.0)
        expire(self.claim(self.bob))
        self.settings(gold_rate=0.0)
        assert self.claim(self.dana).item_id != gold.pk
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        assert not Slot.objects.filter(item=gold).exists()

    def test_it_is_never_the_last_one(self) -> None:
        """An item that comes after everything else is judged would be known as gold."""
        builders.items(self.project, 3)
        self.gold(2)
        self.settings(gold_rate=0.0)
        builders.judgment(self.project, self.bob)
        self.settings(gold_rate=1.0)
        assert self.nothing_for(self.bob)

    def test_its_time_begins_when_it_is_on_the_screen_too(self) -> None:
        builders.items(self.project, 4)
        self.gold(3)
        self.settings(gold_rate=1.0)
        first = self.claim(self.bob)
        second = leases.claim(project=self.project, annotator=self.bob, on_screen=first)
        assert second is not None
        assert Slot.objects.get(pk=second.slot_id).opened_at is None
        builders.submit(first)
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=second)
        assert Slot.objects.get(pk=second.slot_id).opened_at is not None

    def test_a_restricted_one_that_is_held_is_not_in_the_way(self) -> None:
        builders.items(self.project, 3)
        self.gold(2)
        self.settings(gold_rate=1.0)
        held = self.claim(self.bob)
        items.restrict(item=Item.objects.get(pk=held.item_id), actor=self.alice, reason="A test.")
        assert self.claim(self.bob).item_id != held.item_id
        assert builders.submit(held).slot_id == held.slot_id  # what they had begun is kept

    def test_one_that_was_taken_out_is_given_to_nobody(self) -> None:
        builders.items(self.project, 1)
        (gold,) = self.gold(1)
        self.settings(gold_rate=1.0)
        items.retire(item=gold, actor=self.alice, reason="A test.")
        assert self.nothing_for(self.bob)

    def test_nobody_fills_the_slot_that_was_made_for_another_one(self) -> None:
        builders.items(self.project, 1)
        late = self.claim(self.bob)
        expire(late)
        danas = self.claim(self.dana)
        self.gold(1)
        expire(danas)
        assert builders.submit(late).slot_id is None
        assert builders.submit(danas).slot_id == danas.slot_id

    def test_without_a_rate_none_is_handed_out(self) -> None:
        builders.items(self.project, 1)
        self.gold(1)
        assert self.nothing_for(self.bob)


class ControlTests(GoldTestCase):
    def test_it_is_drawn_evenly_whatever_the_priority(self) -> None:
        builders.items(self.project, 40)
        urgent = set(Slot.objects.order_by("id").values_list("pk", flat=True)[:20])
        Slot.objects.filter(pk__in=urgent).update(priority=5)
        self.settings(control_rate=1.0)
        drawn = []
        for n in range(40):
            person = builders.user(f"p{n}")
            builders.join(self.project, person, Member.Role.ANNOTATOR)
            drawn.append(self.claim(person).slot_id)
        assert 2 <= len(urgent & set(drawn[:20])) <= 18
        assert Slot.objects.filter(control=True).count() == 40

    def test_it_is_the_first_one_after_a_number_drawn_and_round_again(self) -> None:
        builders.items(self.project, 2)
        near, far = Slot.objects.order_by("id")
        Slot.objects.filter(pk=near.pk).update(control_key=0.2, random_key=0.9)
        Slot.objects.filter(pk=far.pk).update(control_key=0.6, random_key=0.1, priority=5)
        self.settings(control_rate=1.0)
        with patch.object(leases, "_random") as random:
            for drawn, expected in ((0.1, near), (0.5, far), (0.7, near)):
                random.random.return_value = drawn
                assert self.claim(self.bob).slot_id == expected.pk
                Slot.objects.filter(pk=expected.pk).release()

    def test_one_that_was_given_back_is_of_it_no_more(self) -> None:
        builders.items(self.project, 1)
        self.settings(control_rate=1.0)
        lease = self.claim(self.bob)
        assert Slot.objects.get().control
        skips.skip(lease=lease, reason="cannot_judge")
        assert not Slot.objects.get().control

    def test_one_that_ran_out_is_of_it_no_more(self) -> None:
        builders.items(self.project, 1)
        self.settings(control_rate=1.0)
        expire(self.claim(self.bob))
        self.settings(control_rate=0.0)
        self.claim(self.dana)
        assert not Slot.objects.get().control

    def test_without_a_rate_nothing_is_of_it(self) -> None:
        builders.items(self.project, 1)
        self.claim(self.bob)
        assert not Slot.objects.get().control


class PauseTests(GoldTestCase):
    def test_a_paused_member_gets_nothing_and_is_told_why(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        Member.objects.filter(user=self.bob).update(paused_at="2026-01-01T00:00Z", paused_reason="A rest.")
        with pytest.raises(Paused, match="A rest"):
            self.claim(self.bob)
        assert builders.submit(lease).slot_id == lease.slot_id  # what they had begun is kept

    def test_what_they_do_not_get_is_not_kept_from_others(self) -> None:
        builders.items(self.project, 2)
        self.gold(1)
        Member.objects.filter(user=self.bob).update(paused_at="2026-01-01T00:00Z", paused_reason="A rest.")
        for rate in (0.0, 1.0):
            self.settings(gold_rate=rate)
            with pytest.raises(Paused, match="A rest"):
                self.claim(self.bob)
        assert list(Slot.objects.values_list("state", flat=True)) == ["open"]


class OwnAnswersTests(GoldTestCase):
    def test_nobody_orders_what_they_wrote(self) -> None:
        builders.items(self.project, 1)
        author = Item.objects.get().responses.first().author
        author.user = self.bob
        author.save()
        assert self.nothing_for(self.bob)
        assert self.left_for(self.bob) == 0
        assert self.claim(self.dana)


class RenewTests(GoldTestCase):
    def test_it_renews_what_is_on_the_screen_and_what_is_held_ahead(self) -> None:
        builders.items(self.project, 2)
        lease = self.claim(self.bob)
        ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        before = dict(Slot.objects.values_list("pk", "leased_until"))
        assert leases.renew(lease=lease) is LeaseState.HELD
        after = dict(Slot.objects.values_list("pk", "leased_until"))
        assert all(after[pk] > before[pk] for pk in (lease.slot_id, ahead.slot_id))

    def test_it_says_when_somebody_else_has_the_item(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        danas = self.claim(self.dana)
        assert leases.renew(lease=lease) is LeaseState.OPEN_TO_OTHERS
        builders.submit(danas)
        assert leases.renew(lease=lease) is LeaseState.FINISHED
        builders.submit(lease)
        assert leases.renew(lease=lease) is LeaseState.JUDGED

    def test_the_lease_is_finished_once_somebody_else_submitted(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        danas = self.claim(self.dana)
        builders.submit(lease)
        assert leases.renew(lease=danas) is LeaseState.FINISHED

    def test_what_is_held_ahead_says_nothing_of_what_was_lost(self) -> None:
        builders.items(self.project, 2)
        lease = self.claim(self.bob)
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        expire(lease)
        assert self.claim(self.dana).slot_id == lease.slot_id
        assert leases.renew(lease=lease) is LeaseState.OPEN_TO_OTHERS

    def test_one_that_ran_out_is_renewed_while_nobody_has_the_item(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        expire(lease)
        assert leases.renew(lease=lease) is LeaseState.HELD
        assert self.nothing_for(self.dana)


class DrawTests(GoldTestCase):
    def test_the_rates_share_one_throw(self) -> None:
        builders.items(self.project, 3)
        (gold,) = self.gold(1)
        self.settings(gold_rate=0.3, control_rate=0.2)
        with patch.object(leases, "_random") as random:
            random.random.return_value = 0.29
            assert self.claim(self.bob).item_id == gold.pk
            random.random.return_value = 0.31
            assert Slot.objects.get(pk=self.claim(self.dana).slot_id).control
            random.random.return_value = 0.51
            assert not Slot.objects.get(pk=self.claim(self.alice).slot_id).control
