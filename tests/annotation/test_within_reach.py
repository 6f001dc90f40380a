"""How much of the queue those at work can give, held against the queue itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

from django.db import transaction
from django.utils import timezone

from annotation.actions import batches, items, leases, skips
from annotation.analytics.item_search import Search
from annotation.analytics.outlook import outlook, outlook_of_items
from annotation.models import Member, Skip, Slot, User
from tests import builders
from tests.base import PalateTestCase


class WithinReachTests(PalateTestCase):
    """What the page says that nobody at work can give is what remains when they have drawn from the queue until it is empty for
    them."""

    def setUp(self) -> None:
        self.erin, self.frank = builders.user("erin"), builders.user("frank")
        for person in (self.erin, self.frank):
            builders.join(self.project, person, Member.Role.ANNOTATOR)

    def fill(self, items: int, overlap: int) -> None:
        self.project.overlap = overlap
        self.project.save()
        builders.items(self.project, items, prefix=f"p{Slot.objects.count()}x")

    def draw_all(self, people: Sequence[User], rng: random.Random) -> int:
        """Judgments that are left when none of these people gets an item any more."""
        waiting = list(people)
        while waiting:
            person = rng.choice(waiting)
            try:
                builders.judgment(self.project, person)
            except (AssertionError, leases.Paused):
                waiting.remove(person)
        return Slot.objects.exclude(state="done").filter(gold=False, chat=False).count()

    def check(self, rng: random.Random) -> int:
        said = outlook(self.project)
        people = list(User.objects.filter(username__in=[worker.name for worker in said.workers]))
        own = {worker.name: worker.items_left for worker in said.workers if worker.items_left is not None}
        for person in people:
            if person.username in own:
                assert own[person.username] == self.items_for(person)
        remaining = self.draw_all(people, rng)
        assert remaining == said.out_of_reach
        return remaining

    def items_for(self, person: User) -> int:
        """As the claim gives them, one after the other, taken back at the end."""
        count, point = 0, transaction.savepoint()
        try:
            while leases.claim(project=self.project, annotator=person):
                builders.judgment(self.project, person)
                count += 1
        except leases.Paused:
            count = 0
        transaction.savepoint_rollback(point)
        return count

    def test_a_second_person_is_needed_where_items_have_two_places(self) -> None:
        self.fill(8, overlap=2)
        for _ in range(6):
            builders.judgment(self.project, self.bob)
        said = outlook(self.project)
        assert (said.left, said.out_of_reach, said.needs_people) == (10, 8, True)
        assert said.sentence.endswith("8 more judgments need people other than bob.")
        assert "2 more judgments take" in said.sentence
        assert self.check(random.Random(1)) == 8
        idle = outlook(self.project)
        assert idle.is_idle
        assert idle.sentence == (
            "The queue has no more for those at work: 8 judgments are left that need people other than bob."
        )

    def test_whoever_is_paused_or_not_qualified_gives_nothing(self) -> None:
        self.fill(6, overlap=2)
        for person in (self.bob, self.erin):
            builders.judgment(self.project, person)
        assert outlook(self.project).out_of_reach == 0
        Member.objects.filter(user=self.erin).update(paused_at=timezone.now())
        assert self.check(random.Random(2)) > 0
        Member.objects.filter(user=self.erin).update(paused_at=None)
        self.project.qualification_items = 3
        self.project.save()
        said = outlook(self.project)
        assert said.sentence.startswith(
            "Nobody judges what is in the queue, as those at work are paused or not qualified"
        )
        Member.objects.filter(user=self.bob).update(qualified_at=timezone.now())
        assert outlook(self.project).out_of_reach == said.left, "bob has judged the first place of each"

    def test_restricted_items_are_for_reviewers(self) -> None:
        self.fill(6, overlap=1)
        judged = builders.judgment(self.project, self.bob).item_id
        others = self.project.items.exclude(pk=judged)
        items.restrict_all(items=list(others[:2]), actor=self.alice, reason="Unsafe")
        assert outlook(self.project).out_of_reach == 2
        assert self.check(random.Random(3)) == 2
        builders.judgment(self.project, self.dana)
        assert outlook(self.project).out_of_reach == 0

    def test_a_person_with_an_open_item_will_give_it(self) -> None:
        self.fill(1, overlap=2)
        leases.claim(project=self.project, annotator=self.bob)
        said = outlook(self.project)
        assert (said.left, said.out_of_reach) == (2, 1)
        leases.claim(project=self.project, annotator=self.erin)
        assert outlook(self.project).out_of_reach == 0

    def test_of_some_items_it_counts_these_alone(self) -> None:
        self.fill(4, overlap=2)
        judged = [builders.judgment(self.project, self.bob).item_id for _ in range(2)]
        assert outlook_of_items(self.project, judged, 2).out_of_reach == 2
        assert outlook(self.project).out_of_reach == 4

    def test_in_a_long_queue_it_is_counted_once_a_minute(self) -> None:
        self.fill(6, overlap=2)
        builders.judgment(self.project, self.bob)
        with patch("annotation.analytics.outlook.COUNTED_ANEW", 5):
            assert outlook(self.project).within_reach == 5
            builders.judgment(self.project, self.bob)
            assert outlook(self.project).within_reach == 5, "kept"
            builders.judgment(self.project, self.erin)
            assert outlook(self.project).within_reach == 9, "of other people it is another count"
        with patch("annotation.analytics.outlook.MAX_COUNTED", 5):
            said = outlook(self.project)
            assert (said.within_reach, said.out_of_reach) == (None, 0)
        assert outlook(self.project).within_reach == 9

    def test_random_projects_are_left_with_what_was_said(self) -> None:
        counted = []
        for seed in range(12):
            rng = random.Random(seed)
            point = transaction.savepoint()
            for overlap in rng.sample((1, 2, 3, 4), 2):
                self.fill(rng.randint(2, 6), overlap)
            people = rng.sample([self.bob, self.dana, self.erin, self.frank], rng.randint(1, 3))
            self._disturb(rng)
            for person in people:
                with suppress(AssertionError):
                    builders.judgment(self.project, person)
            counted.append(self.check(rng))
            transaction.savepoint_rollback(point)
        assert len(set(counted)) > 4, counted

    def _disturb(self, rng: random.Random) -> None:
        """Skips, restricted items, other people's judgments, an answer of an annotator's own, and a batch."""
        everybody = [self.bob, self.dana, self.erin, self.frank]
        pks = list(self.project.items.values_list("pk", flat=True))
        if rng.random() < 0.7:
            chosen = list(self.project.items.filter(pk__in=rng.sample(pks, 2)))
            items.restrict_all(items=chosen, actor=self.alice, reason="Unsafe")
        for person in rng.choices(everybody, k=3):
            lease = leases.claim(project=self.project, annotator=person)
            if lease and rng.random() < 0.5:
                skips.skip(lease=lease, reason=Skip.Reason.CANNOT_JUDGE)
            elif lease:
                builders.submit(lease)
        if rng.random() < 0.6:
            with suppress(batches.BatchError):
                batches.create_batch(
                    project=self.project,
                    name="first",
                    users=[rng.choice(everybody).pk],
                    due_at=timezone.now() + timedelta(days=2),
                    search=Search(state="open"),
                    limit=rng.randint(1, 4),
                    actor=self.alice,
                )
