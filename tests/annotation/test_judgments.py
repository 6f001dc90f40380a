"""Submitting judgments, once and late, their time on task, and revising them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotation.actions import drafts, judgments, leases, projects
from annotation.actions.judgments import AlreadyJudged, JudgmentError
from annotation.actions.leases import Lease
from annotation.models import Draft, Judgment, Placement, Slot, User
from tests import builders
from tests.annotation.queue_case import expire
from tests.base import PalateTestCase


class JudgeTestCase(PalateTestCase):
    def claim(self, user: User) -> Lease:
        lease = leases.claim(project=self.project, annotator=user)
        assert lease is not None
        return lease

    def items(self, count: int = 1, *, overlap: int = 1, k: int = 4) -> None:
        self.project.overlap = overlap
        self.project.save()
        builders.items(self.project, count, k=k)


class SubmitTests(JudgeTestCase):
    def test_it_keeps_what_was_said_and_what_was_shown(self) -> None:
        self.items()
        lease = self.claim(self.bob)
        drafts.save_draft(lease=lease, data={})
        judgment = judgments.submit(
            lease=lease,
            ranks=dict(zip(lease.shown_order, [3, 1, 3, 4], strict=True)),
            idempotency_key=uuid.uuid4(),
            rationale="  The second one cites its source.\n",
        )
        judgment.refresh_from_db()
        assert judgment.shown_order == lease.shown_order
        assert judgment.rationale == "The second one cites its source."
        assert judgment.guideline.number == 1
        assert 0 <= judgment.seconds < 60
        assert judgment.annotator == self.bob
        kept = dict(judgment.placements.values_list("response_id", "rank"))
        assert kept == dict(zip(lease.shown_order, [2, 1, 2, 3], strict=True))
        slot = Slot.objects.get()
        assert (slot.state, slot.annotator_id, judgment.slot_id) == ("done", self.bob.pk, slot.pk)
        assert not Draft.objects.exists()

    def test_it_notes_the_guidelines_in_force(self) -> None:
        self.items()
        projects.write_guideline(project=self.project, text="Prefer the shorter one.", author=self.alice)
        assert builders.judgment(self.project, self.bob).guideline.number == 2

    def test_a_comparison_keeps_its_degree(self) -> None:
        self.items(k=2)
        judgment = builders.submit(self.claim(self.bob), [2, 1], degree="slightly")
        assert judgment.degree == "slightly"

    def test_the_number_of_queries_does_not_grow_with_k(self) -> None:
        self.items(k=9)
        lease = self.claim(self.bob)
        with self.assertNumQueries(1):  # all of it in one statement
            builders.submit(lease)


class FirstToSubmitTests(JudgeTestCase):
    """An item that somebody merely opened never discards a finished judgment."""

    def late(self, *, overlap: int = 1) -> Lease:
        """Bob's lease of the only item, expired."""
        self.items(overlap=overlap)
        lease = self.claim(self.bob)
        expire(lease)
        return lease

    def test_a_late_judgment_counts_though_somebody_else_opened_the_item(self) -> None:
        late = self.late()
        danas = self.claim(self.dana)
        assert builders.submit(late).slot_id == danas.slot_id
        slot = Slot.objects.get()
        assert (slot.state, slot.annotator, slot.shown_order) == ("done", self.bob, late.shown_order)
        assert builders.submit(danas).slot_id is None

    def test_it_takes_an_open_slot_first_and_then_the_one_that_nobody_has_seen(self) -> None:
        late = self.late(overlap=3)
        danas = self.claim(self.dana)
        assert danas.slot_id == late.slot_id
        assert builders.submit(late).slot_id != danas.slot_id
        charlies = self.open_ahead(self.charlie)
        alices = builders.submit(self.late_lease_of(self.alice, charlies))
        assert alices.slot_id == charlies.slot_id
        assert Slot.objects.filter(state="leased").get().annotator == self.dana

    def open_ahead(self, user: User) -> Lease:
        """A lease on the last open slot of the item, claimed ahead by somebody who has another item on the screen."""
        builders.join(self.project, user, "annotator")
        lease = self.claim(user)
        Slot.objects.filter(pk=lease.slot_id).update(opened_at=None)
        return lease

    def late_lease_of(self, user: User, other: Lease) -> Lease:
        """A lease of the same item that expired long ago."""
        return replace(other, annotator_id=user.pk, token=str(uuid.uuid4()))

    def test_the_draft_of_whoever_opened_it_is_not_lost(self) -> None:
        late = self.late()
        drafts.save_draft(lease=(danas := self.claim(self.dana)), data={"rationale": "half a thought"})
        builders.submit(late)
        assert Draft.objects.get(annotator=self.dana).data == {"rationale": "half a thought"}
        assert builders.submit(danas).slot_id is None
        assert not Draft.objects.exists()


class RefusalTests(JudgeTestCase):
    def refused(self, field: str, match: str, **given: object) -> None:
        lease = self.claim(self.bob)
        values: dict[str, object] = {
            "lease": lease,
            "idempotency_key": uuid.uuid4(),
            "ranks": dict.fromkeys(lease.shown_order, 1),
        }
        with pytest.raises(JudgmentError, match=match) as caught:
            judgments.submit(**values | given)  # type: ignore[arg-type]
        assert caught.value.field == field
        assert not Judgment.objects.exists()
        assert Slot.objects.get(pk=lease.slot_id).state == "leased"

    def test_it_names_the_answers_without_a_rank(self) -> None:
        self.items()
        order = self.claim(self.bob).shown_order
        self.refused("ranks", "missing: B, D", ranks={order[0]: 1, order[2]: 2})

    def test_it_refuses_a_response_of_another_item(self) -> None:
        self.items()
        order = self.claim(self.bob).shown_order
        self.refused("ranks", "Response 999999 is not in this item", ranks=dict.fromkeys([*order, 999999], 1))

    def test_it_refuses_ranks_that_are_none(self) -> None:
        self.items()
        order = self.claim(self.bob).shown_order
        for rank in (0, 5, -1):
            self.refused("ranks", "from 1 to 4", ranks=dict.fromkeys(order, 1) | {order[0]: rank})

    def test_a_ranking_has_no_degree(self) -> None:
        self.items()
        self.refused("degree", "no degree", degree="better")

    def test_a_comparison_needs_a_degree_and_a_choice(self) -> None:
        self.items(k=2)
        order = self.claim(self.bob).shown_order
        choice = {order[0]: 1, order[1]: 2}
        self.refused("degree", "how much better", ranks=choice)
        self.refused("degree", "how much better", ranks=choice, degree="enormously")
        self.refused("ranks", "Choose one", degree="better")

    def test_it_refuses_a_rationale_that_the_database_cannot_hold(self) -> None:
        self.items()
        self.refused("rationale", "null byte", rationale="a\0b")
        self.refused("rationale", "at most 10,000", rationale="a" * 10_001)

    def test_it_refuses_a_key_of_another_judgment(self) -> None:
        """Otherwise a script that forgets to make a new key would believe that everything was kept."""
        self.items(2)
        key = uuid.uuid4()
        builders.submit(self.claim(self.bob), key=key)
        with pytest.raises(JudgmentError, match="another item") as caught:
            builders.submit(self.claim(self.bob), key=key)
        assert caught.value.field == "idempotency_key"
        assert Judgment.objects.count() == 1


class TwiceTests(JudgeTestCase):
    def test_the_same_key_again_gives_the_judgment_that_was_kept(self) -> None:
        self.items(overlap=2)
        lease, key = self.claim(self.bob), uuid.uuid4()
        first = builders.submit(lease, [1, 2, 3, 4], key=key)
        again = builders.submit(lease, [4, 3, 2, 1], key=key)
        assert again == first
        assert Judgment.objects.count() == 1
        assert Placement.objects.get(response_id=lease.shown_order[0]).rank == 1
        assert Slot.objects.filter(state="open").count() == 1

    def test_another_key_for_the_same_item_is_refused_and_the_first_stands(self) -> None:
        self.items(overlap=2)
        lease = self.claim(self.bob)
        first = builders.submit(lease)
        with pytest.raises(AlreadyJudged, match="that judgment stays"):
            builders.submit(lease, [4, 3, 2, 1])
        assert Judgment.objects.get() == first

    def test_two_people_may_use_the_same_key(self) -> None:
        self.items(2)
        key = uuid.uuid4()
        builders.submit(self.claim(self.bob), key=key)
        builders.submit(self.claim(self.dana), key=key)
        assert Judgment.objects.count() == 2


class LateTests(JudgeTestCase):
    def test_it_counts_when_nobody_took_the_slot_meanwhile(self) -> None:
        self.items()
        lease = self.claim(self.bob)
        expire(lease)
        assert builders.submit(lease).slot_id == lease.slot_id

    def test_it_takes_another_slot_of_the_item(self) -> None:
        self.items(overlap=2)
        lease = self.claim(self.bob)
        expire(lease)
        danas = self.claim(self.dana)
        while danas.slot_id != lease.slot_id:  # either slot may have been hers; make it Bob's
            Slot.objects.filter(pk=danas.slot_id).update(
                state="open", annotator=None, token=None, leased_until=None, shown_order=None
            )
            danas = self.claim(self.dana)
        judgment = builders.submit(lease)
        assert judgment.slot_id not in (None, danas.slot_id)
        assert builders.submit(danas).slot_id == danas.slot_id
        assert not Slot.objects.exclude(state="done").exists()

    def test_it_takes_a_slot_that_another_one_let_run_out(self) -> None:
        self.items()
        lease = self.claim(self.bob)
        expire(lease)
        danas = self.claim(self.dana)
        expire(danas)
        assert builders.submit(lease).slot_id == lease.slot_id
        assert builders.submit(danas).slot_id is None

    def test_it_is_kept_without_a_slot_when_others_filled_them(self) -> None:
        self.items()
        lease = self.claim(self.bob)
        expire(lease)
        builders.judgment(self.project, self.dana)
        judgment = builders.submit(lease)
        assert judgment.slot_id is None
        assert judgment.placements.count() == 4
        assert Slot.objects.get().annotator == self.dana

    def test_who_took_the_item_again_may_still_submit_the_page_from_before(self) -> None:
        """Bob's lease ran out, Dana has that slot, Bob has another one of the same item, and his first tab submits."""
        self.items(overlap=3)
        lease = self.claim(self.bob)
        expire(lease)
        Slot.objects.exclude(pk=lease.slot_id).update(priority=-1)
        danas = self.claim(self.dana)
        assert danas.slot_id == lease.slot_id
        again = self.claim(self.bob)
        assert again.slot_id != lease.slot_id
        assert builders.submit(lease).slot_id == again.slot_id
        with pytest.raises(AlreadyJudged):
            builders.submit(again)
        assert Slot.objects.filter(state="open").count() == 1


class TimeTests(JudgeTestCase):
    def test_time_on_task_runs_from_the_first_opening_whatever_is_loaded_again(self) -> None:
        self.items()
        lease = self.claim(self.bob)
        Slot.objects.filter(pk=lease.slot_id).update(opened_at=timezone.now() - timedelta(minutes=3))
        again = self.claim(self.bob)
        assert again.opened_at < lease.opened_at
        assert 180 <= builders.submit(again).seconds < 200

    def test_what_is_held_ahead_is_not_open_before_it_is_on_the_screen(self) -> None:
        self.items(3)
        lease = self.claim(self.bob)
        ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        assert ahead.item_id != lease.item_id
        assert Slot.objects.get(pk=ahead.slot_id).opened_at is None
        assert self.claim(self.bob).item_id == lease.item_id
        builders.submit(lease)
        third = leases.claim(project=self.project, annotator=self.bob, on_screen=ahead)
        assert third.item_id not in (lease.item_id, ahead.item_id)
        assert Slot.objects.get(pk=ahead.slot_id).opened_at is not None

    def test_the_clock_starts_when_the_page_showed_it_and_not_before_it_was_claimed(self) -> None:
        self.items(4)
        lease = self.claim(self.bob)
        for shown_s, expected in ((600, 600), (7200, 3600)):
            ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
            assert ahead is not None
            claimed = replace(ahead, opened_at=ahead.opened_at - 3600)
            builders.submit(lease)
            leases.claim(project=self.project, annotator=self.bob, on_screen=claimed, shown_s=shown_s)
            age = timezone.now() - Slot.objects.get(pk=ahead.slot_id).opened_at
            assert age.total_seconds() == pytest.approx(expected, abs=30)
            lease = ahead

    def test_what_was_held_ahead_is_timed_from_when_it_was_on_the_screen(self) -> None:
        self.items(2)
        lease = self.claim(self.bob)
        ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=lease)
        assert ahead is not None
        builders.submit(lease)
        leases.claim(project=self.project, annotator=self.bob, on_screen=ahead)
        fetched = replace(ahead, opened_at=ahead.opened_at - 3600)
        assert builders.submit(fetched).seconds < 60


class ReviseTests(JudgeTestCase):
    def judgment(self) -> Judgment:
        self.items(overlap=2)
        return builders.submit(self.claim(self.bob), [1, 2, 3, 4])

    def revise(self, judgment: Judgment, ranks: list[int], **more: Any) -> Judgment:
        values = {"annotator": self.bob, "idempotency_key": uuid.uuid4()} | more
        said = dict(zip(judgment.shown_order, ranks, strict=True))
        return judgments.revise(judgment=judgment, ranks=said, **values)

    def test_it_takes_the_place_of_the_old_one_which_stays(self) -> None:
        old = self.judgment()
        newer = self.revise(old, [4, 3, 2, 1], rationale="I misread B.")
        assert list(Judgment.objects.current()) == [newer]
        assert (newer.supersedes, newer.slot_id, newer.seconds) == (old, old.slot_id, old.seconds)
        best = newer.shown_order[-1]
        assert newer.placements.get(rank=1).response_id == best
        assert old.placements.get(response_id=best).rank == 4

    def test_only_one_s_own(self) -> None:
        with pytest.raises(JudgmentError, match="somebody else's"):
            self.revise(self.judgment(), [1, 1, 1, 1], annotator=self.dana)
        assert Judgment.objects.count() == 1

    def test_the_same_submit_again_gives_the_same_revision(self) -> None:
        old, key = self.judgment(), uuid.uuid4()
        first = self.revise(old, [2, 1, 3, 4], idempotency_key=key)
        assert self.revise(old, [4, 4, 4, 4], idempotency_key=key) == first
        assert Judgment.objects.count() == 2

    def test_an_old_one_is_not_revised_twice(self) -> None:
        old = self.judgment()
        newer = self.revise(old, [2, 1, 3, 4])
        with pytest.raises(JudgmentError, match="changed this judgment before") as caught:
            self.revise(old, [4, 3, 2, 1])
        assert caught.value.field == "judgment"
        assert self.revise(newer, [4, 3, 2, 1]).supersedes == newer

    def test_what_is_refused_at_first_is_refused_again(self) -> None:
        with pytest.raises(JudgmentError, match="from 1 to 4"):
            self.revise(self.judgment(), [1, 2, 3, 5])
