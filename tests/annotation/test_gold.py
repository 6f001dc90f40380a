"""What is handed out beside the queue's own order: gold, the control slice, the qualification; and what is routed away."""

from __future__ import annotations

import uuid
from unittest.mock import patch

import pytest

from annotation import queries
from annotation.actions import items, judgments, leases, rules, skips
from annotation.actions.leases import Paused
from annotation.models import AuditEntry, Author, Item, Member, Project, Skip, Slot, User
from tests import builders
from tests.annotation.test_queue import QueueTestCase, run_out


class GoldTestCase(QueueTestCase):
    def settings(self, **changes: object) -> None:
        Project.objects.filter(pk=self.project.pk).update(**changes)
        self.project.refresh_from_db()

    def gold(self, count: int) -> list[Item]:
        """The first items' answers are known: in the order of their ids."""
        chosen = list(Item.objects.order_by("id")[:count])
        for item in chosen:
            ids = sorted(item.candidates.values_list("response_id", flat=True))
            ranks = {response: rank for rank, response in enumerate(ids, start=1)}
            items.make_gold(item=item, ranks=ranks, explanation="It is known.", actor=self.alice)
        return chosen

    def left_for(self, user: User) -> int:
        (mine,) = queries.assignments_of(user)
        return mine.left

    def member(self, user: User) -> Member:
        return Member.objects.get(project=self.project, user=user)


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
        builders.items(self.project, 1)
        self.gold(1)
        self.settings(gold_rate=1.0)
        run_out(self.claim(self.bob))
        self.settings(gold_rate=0.0)
        assert self.nothing_for(self.dana)
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        assert not Slot.objects.exists()

    def test_its_time_begins_when_it_is_on_the_screen_too(self) -> None:
        builders.items(self.project, 3)
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
        builders.items(self.project, 2)
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
        run_out(late)
        danas = self.claim(self.dana)
        self.gold(1)
        run_out(danas)
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
        run_out(self.claim(self.bob))
        self.settings(control_rate=0.0)
        self.claim(self.dana)
        assert not Slot.objects.get().control

    def test_without_a_rate_nothing_is_of_it(self) -> None:
        builders.items(self.project, 1)
        self.claim(self.bob)
        assert not Slot.objects.get().control


class QualificationTests(GoldTestCase):
    def begin(self, accuracy: float = 0.7) -> None:
        builders.items(self.project, 5)
        self.gold(3)
        self.settings(qualification_items=2, qualification_accuracy=accuracy)

    def test_who_passes_goes_on_to_the_real_work(self) -> None:
        self.begin()
        for _ in range(2):
            assert builders.judgment(self.project, self.bob).item.gold is not None
        assert self.member(self.bob).qualified_at is not None
        assert AuditEntry.objects.filter(verb="member.qualified").count() == 1
        assert Item.objects.get(pk=self.claim(self.bob).item_id).gold is None

    def test_who_has_passed_is_not_asked_again(self) -> None:
        self.begin()
        for _ in range(2):
            builders.judgment(self.project, self.bob)
        self.settings(gold_rate=1.0)
        assert builders.judgment(self.project, self.bob, [4, 3, 2, 1]).item.gold is not None
        assert self.member(self.bob).paused_at is None
        assert AuditEntry.objects.filter(verb="member.qualified").count() == 1

    def test_who_fails_is_paused_and_told_why(self) -> None:
        self.begin()
        for _ in range(2):
            builders.judgment(self.project, self.bob, [4, 3, 2, 1])
        assert self.member(self.bob).qualified_at is None
        with pytest.raises(Paused, match="needs an accuracy of 70%; yours was 0%"):
            self.claim(self.bob)
        assert AuditEntry.objects.get(verb="member.paused").data["accuracy"] == 0

    def test_no_more_is_held_ahead_than_it_has(self) -> None:
        self.begin()
        first = self.claim(self.bob)
        second = leases.claim(project=self.project, annotator=self.bob, on_screen=first)
        builders.submit(first, [1, 1, 1, 1])
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=second) is None

    def test_one_that_was_skipped_is_one_of_them(self) -> None:
        self.begin()
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        second = self.claim(self.bob)
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=second) is None

    def test_a_skipped_one_counts_as_not_right(self) -> None:
        self.begin(accuracy=1.0)
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        builders.judgment(self.project, self.bob)
        assert "yours was 50%" in self.member(self.bob).paused_reason

    def test_what_was_changed_counts_as_it_is_now(self) -> None:
        self.begin(accuracy=1.0)
        first = builders.judgment(self.project, self.bob, [4, 3, 2, 1])
        ranks = {placed.response_id: 5 - placed.rank for placed in first.placements.all()}
        judgments.revise(judgment=first, annotator=self.bob, ranks=ranks, idempotency_key=uuid.uuid4())
        builders.judgment(self.project, self.bob)
        assert self.member(self.bob).qualified_at is not None

    def test_to_skip_the_last_one_ends_it(self) -> None:
        self.begin(accuracy=0.5)
        builders.judgment(self.project, self.bob)
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        assert self.member(self.bob).qualified_at is not None

    def test_reviewers_need_none(self) -> None:
        self.begin()
        assert Item.objects.get(pk=self.claim(self.dana).item_id).gold is None

    def test_what_only_reviewers_get_is_no_part_of_it(self) -> None:
        self.begin()
        for item in Item.objects.filter(gold__isnull=False)[:2]:
            items.restrict(item=item, actor=self.alice, reason="A test.")
        builders.judgment(self.project, self.bob)
        assert self.member(self.bob).qualified_at is not None

    def test_one_that_is_restricted_in_their_hands_is_no_part_of_it(self) -> None:
        self.begin()
        held = self.claim(self.bob)
        items.restrict(item=Item.objects.get(pk=held.item_id), actor=self.alice, reason="A test.")
        for _ in range(2):
            assert builders.judgment(self.project, self.bob).item_id != held.item_id
        assert self.member(self.bob).qualified_at is not None

    def test_it_ends_where_nothing_is_left_to_give(self) -> None:
        answers = [{"text": text, "author": "bob's"} for text in "abcd"]
        builders.imported(self.project, {"prompt": "By Bob.", "responses": answers})
        self.gold(1)
        Author.objects.update(user=self.bob)
        builders.items(self.project, 1)
        other = Item.objects.get(gold__isnull=True)
        ids = sorted(other.responses.values_list("pk", flat=True))
        ranks = {pk: rank for rank, pk in enumerate(ids, start=1)}
        items.make_gold(item=other, ranks=ranks, explanation="It is known.", actor=self.alice)
        builders.items(self.project, 2)
        self.settings(qualification_items=2)
        assert builders.judgment(self.project, self.bob).item_id == other.pk
        assert Item.objects.get(pk=self.claim(self.bob).item_id).gold is None

    def test_whom_a_lead_lets_go_on_after_it_has_it_behind_them(self) -> None:
        self.begin()
        for _ in range(2):
            builders.judgment(self.project, self.bob, [4, 3, 2, 1])
        rules.resume(member=self.member(self.bob), actor=self.alice)
        assert Item.objects.get(pk=self.claim(self.bob).item_id).gold is None
        assert self.member(self.bob).qualified_at is not None
        assert AuditEntry.objects.get(verb="member.resumed").data["qualified"] is True

    def test_whom_a_lead_lets_go_on_in_the_middle_of_it_goes_on_with_it(self) -> None:
        self.begin()
        builders.judgment(self.project, self.bob)
        rules.pause(member=self.member(self.bob), reason="A rest.", actor=self.alice)
        rules.resume(member=self.member(self.bob), actor=self.alice)
        assert Item.objects.get(pk=self.claim(self.bob).item_id).gold is not None
        assert self.member(self.bob).qualified_at is None

    def test_without_gold_nobody_can_begin(self) -> None:
        builders.items(self.project, 1)
        self.settings(qualification_items=2)
        with pytest.raises(Paused, match="has no items yet"):
            self.claim(self.bob)


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


class RenewTests(GoldTestCase):
    def test_it_renews_what_is_on_the_screen_and_what_is_held_ahead(self) -> None:
        builders.items(self.project, 2)
        lease = self.claim(self.bob)
        ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        before = dict(Slot.objects.values_list("pk", "leased_until"))
        assert leases.renew(lease=lease)
        after = dict(Slot.objects.values_list("pk", "leased_until"))
        assert all(after[pk] > before[pk] for pk in (lease.slot_id, ahead.slot_id))

    def test_it_says_when_somebody_else_has_the_item(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        run_out(lease)
        self.claim(self.dana)
        assert not leases.renew(lease=lease)

    def test_what_is_held_ahead_says_nothing_of_what_was_lost(self) -> None:
        builders.items(self.project, 2)
        lease = self.claim(self.bob)
        assert leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        run_out(lease)
        assert self.claim(self.dana).slot_id == lease.slot_id
        assert not leases.renew(lease=lease)

    def test_one_that_ran_out_is_renewed_while_nobody_has_the_item(self) -> None:
        builders.items(self.project, 1)
        lease = self.claim(self.bob)
        run_out(lease)
        assert leases.renew(lease=lease)
        assert self.nothing_for(self.dana)


class DiceTests(GoldTestCase):
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
