from __future__ import annotations

import uuid

import pytest

from annotation.actions import items, judgments, leases, rules, skips
from annotation.actions.leases import Paused
from annotation.models import AuditEntry, Author, Item
from tests import builders
from tests.annotation.queue_case import GoldTestCase


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
