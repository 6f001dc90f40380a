"""Test cases of the queue: claiming, leases that expire, and gold items."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from annotation import queries
from annotation.actions import items, leases
from annotation.actions.leases import Lease
from annotation.models import Item, Member, Project, Slot, User
from tests.base import PalateTestCase


def expire(lease: Lease) -> None:
    """The lease's time is over."""
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
