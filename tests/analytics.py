"""Base class for tests of the analytics and review pages: two annotators judge the same items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.urls import reverse

from annotation.actions import agreement, review
from annotation.models import Guideline, Item, Judgment, Member, Skip, User
from tests import builders
from tests.base import PalateTestCase


class AnalyticsTestCase(PalateTestCase):
    """Bob and Erin annotate the same items."""

    k = 3

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.erin = builders.user("erin")
        builders.join(cls.project, cls.erin, Member.Role.ANNOTATOR)
        cls.project.k, cls.project.overlap = cls.k, 2
        cls.project.save()

    def url(self, name: str, *args: object) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def who_may(
        self, name: str, *args: object, method: str = "get", data: Any = None, **expected: int
    ) -> None:
        """`expected`: status by person, of alice, dana and bob. Nobody is sent to sign in, an outsider finds nothing, and
        the other method is refused."""
        url = self.url(name, *args)
        self.client.logout()
        answer = getattr(self.client, method)(url, data)
        assert answer.status_code == 302
        assert answer.url.startswith(reverse("account_login"))
        people = {"charlie": 404} | expected
        for person, status in people.items():
            with self.subTest(name, who=person):
                self.sign_in(getattr(self, person))
                answer = getattr(self.client, method)(url, data)
                assert answer.status_code == status, (person, answer.status_code)
        self.sign_in(self.alice)
        assert self.client.put(url).status_code == 405

    def more_items(self, count: int) -> None:
        builders.items(self.project, self.project.prompts.count() + count, k=self.k)

    def judged(self, *rankings: Sequence[Sequence[int]], degrees: Sequence[str] = ()) -> list[Item]:
        """An item each: the first ranking is Bob's, the second Erin's, in the order of the responses' ids. How far they
        agree is measured, as a worker does."""
        self.more_items(len(rankings))
        items: dict[int, int] = {}
        for who, person in enumerate((self.bob, self.erin)):
            for n in range(len(rankings)):
                lease = builders.leases.claim(project=self.project, annotator=person)
                assert lease is not None
                place = items.setdefault(lease.item_id, n)
                ranks = dict(zip(sorted(lease.shown_order), rankings[place][who], strict=True))
                degree = (degrees[who] if degrees else "better") if self.k == 2 else None
                builders.judgments.submit(
                    lease=lease, ranks=ranks, degree=degree, idempotency_key=builders.uuid.uuid4()
                )
        agreement.update()
        found = Item.objects.in_bulk(list(items))
        return [found[pk] for pk in items]

    def gold_missed_by(self, person: User, times: int = 1) -> list[Item]:
        """Items that somebody judged, with a known answer that is the reverse of what they said."""
        self.more_items(times)
        found = []
        for _ in range(times):
            judgment: Judgment = builders.judgment(self.project, person)
            ranks = {p.response_id: self.k + 1 - p.rank for p in judgment.placements.all()}
            review.make_gold(
                item=judgment.item, actor=self.alice, ranks=ranks, explanation="It is the reverse."
            )
            found.append(judgment.item)
        return found

    def sent(self, item: Item, person: User, note: str = "Look at B.") -> Skip:
        return Skip.objects.create(item=item, annotator=person, reason=Skip.Reason.REVIEW, note=note)

    def moved(self, row: Judgment | Guideline, at: datetime) -> None:
        """As if it had been made at another time: what the database refuses to everybody else."""
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(f"UPDATE {row._meta.db_table} SET created_at = %s WHERE id = %s", [at, row.pk])
            cursor.execute("SET LOCAL session_replication_role = origin")
