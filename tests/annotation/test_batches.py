"""Batches: items for named people until a date."""

from __future__ import annotations

import threading
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import TransactionTestCase
from django.urls import reverse
from django.utils import timezone

from annotation import queries
from annotation.actions import accounts, batches, items, leases, members, skips
from annotation.actions.batches import BatchError, NewBatch
from annotation.analytics.item_search import Search
from annotation.models import AuditEntry, Batch, Item, Judgment, Member, Notification, Project, Slot, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.annotation.queue_case import QueueTestCase


def in_days(days: float):
    return timezone.now() + timedelta(days=days)


def assign(
    project: Project, *users: User, limit: int = 50, days: float = 3, name: str = "", **search: str
) -> NewBatch:
    """The first is called "Week 48"."""
    return batches.create_batch(
        project=project,
        name=name or f"Week {48 + project.batches.count()}",
        users=[user.pk for user in users],
        due_at=in_days(days),
        search=Search(state="open", **search),
        limit=limit,
        actor=User.objects.get(username="alice"),
    )


def after_due():
    """As if every batch were overdue."""
    return Batch.objects.update(due_at=in_days(-0.01))


class BatchTestCase(QueueTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.eve = builders.user("eve")
        builders.join(cls.project, cls.eve, Member.Role.ANNOTATOR)

    def left(self, user: User) -> int:
        (mine,) = queries.assignments_of(user)
        return mine.left


class ClaimTests(BatchTestCase):
    def test_its_people_get_its_items_first_and_the_others_none_of_them(self) -> None:
        builders.items(self.project, 6)
        Slot.objects.update(priority=0)
        assign(self.project, self.bob, limit=2)
        reserved = set(Slot.objects.filter(batch__isnull=False).values_list("item", flat=True))
        assert len(reserved) == 2
        Slot.objects.filter(batch=None).update(priority=9)
        got = [builders.judgment(self.project, self.bob).item_id for _ in range(3)]
        assert set(got[:2]) == reserved
        assert got[2] not in reserved
        others = {builders.judgment(self.project, self.eve).item_id for _ in range(3)}
        assert not others & reserved
        assert self.nothing_for(self.eve)

    def test_the_item_that_is_held_ahead_is_of_the_batch_too(self) -> None:
        builders.items(self.project, 6)
        assign(self.project, self.bob, limit=2)
        first = self.claim(self.bob)
        second = leases.claim(project=self.project, annotator=self.bob, on_screen=first)
        slots = Slot.objects.filter(pk__in=[first.slot_id, second.slot_id])
        assert all(slot.batch_id for slot in slots)

    def test_what_is_due_first_comes_first(self) -> None:
        builders.items(self.project, 4)
        later = assign(self.project, self.bob, limit=2, days=5).batch
        sooner = assign(self.project, self.bob, limit=4, days=1).batch
        got = [Slot.objects.get(pk=builders.judgment(self.project, self.bob).slot_id).batch for _ in range(4)]
        assert got == [sooner, sooner, later, later]

    def test_everybody_gets_them_once_it_is_due(self) -> None:
        builders.items(self.project, 2)
        assign(self.project, self.bob)
        assert self.nothing_for(self.eve)
        after_due()
        assert self.claim(self.eve)

    def test_everybody_gets_them_once_it_is_closed(self) -> None:
        builders.items(self.project, 2)
        batch = assign(self.project, self.bob).batch
        assert self.nothing_for(self.eve)
        batches.close_batch(batch=batch, actor=self.alice)
        assert self.claim(self.eve)

    def test_a_later_date_reserves_again_what_is_left(self) -> None:
        builders.items(self.project, 2)
        batch = assign(self.project, self.bob).batch
        after_due()
        batches.change_due(batch=batch, due_at=in_days(1), actor=self.alice)
        assert self.nothing_for(self.eve)
        assert self.claim(self.bob)

    def test_no_item_gets_more_judgments_than_it_needs(self) -> None:
        self.set_overlap(2)
        builders.items(self.project, 1)
        new = assign(self.project, self.bob, self.eve, self.dana)
        assert (new.items, new.judgments) == (1, 2)
        for who in (self.bob, self.eve):
            builders.judgment(self.project, who)
        assert self.nothing_for(self.dana)
        assert Judgment.objects.count() == 2

    def test_one_person_takes_one_place_of_an_item_and_the_others_are_free(self) -> None:
        self.set_overlap(3)
        builders.items(self.project, 1)
        new = assign(self.project, self.bob)
        assert new.judgments == 1
        for who in (self.eve, self.dana, self.bob):
            builders.judgment(self.project, who)

    def test_a_skipped_item_goes_to_somebody_else(self) -> None:
        builders.items(self.project, 1)
        batch = assign(self.project, self.bob).batch
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        assert self.claim(self.eve)
        [row] = queries.batch_progress(list(queries.batches_of(self.project).filter(pk=batch.pk)))
        assert (row.done, row.total) == (0, 0)

    def test_the_random_sample_has_none_of_a_batch(self) -> None:
        self.project.control_rate = 1.0
        self.project.save()
        builders.items(self.project, 3)
        assign(self.project, self.bob, limit=1)
        taken = [self.claim_and_judge(self.bob) for _ in range(3)]
        assert [(slot.batch_id is not None, slot.control) for slot in taken] == [
            (True, False),
            (False, True),
            (False, True),
        ]

    def claim_and_judge(self, user: User) -> Slot:
        return Slot.objects.get(pk=builders.judgment(self.project, user).slot_id)

    def test_the_counts_of_what_is_left_know_it(self) -> None:
        builders.items(self.project, 5)
        assign(self.project, self.bob, limit=2)
        assert (self.left(self.bob), self.left(self.eve)) == (5, 3)
        builders.judgment(self.project, self.bob)
        assert (self.left(self.bob), self.left(self.eve)) == (4, 3)
        after_due()
        assert (self.left(self.bob), self.left(self.eve)) == (4, 4)

    def test_gold_items_come_while_something_of_the_batch_is_left_and_not_afterwards(self) -> None:
        builders.items(self.project, 3)
        gold, *_ = Item.objects.order_by("id")
        ids = sorted(gold.candidates.values_list("response_id", flat=True))
        items.make_gold(
            item=gold, ranks={pk: n for n, pk in enumerate(ids, 1)}, explanation="x", actor=self.alice
        )
        self.project.gold_rate = 1.0
        self.project.save()
        assign(self.project, self.bob)
        assert self.nothing_for(self.eve), "a known answer alone would give itself away"
        assert Slot.objects.get(pk=self.claim(self.bob).slot_id).gold

    def test_who_waits_for_a_qualification_gets_no_batch(self) -> None:
        builders.items(self.project, 2)
        assign(self.project, self.bob)
        self.project.qualification_items = 1
        self.project.save()
        with pytest.raises(leases.Paused):
            leases.claim(project=self.project, annotator=self.bob)

    def test_an_item_for_reviewers_leaves_its_batch(self) -> None:
        builders.items(self.project, 1)
        batch = assign(self.project, self.bob).batch
        items.restrict(item=Item.objects.get(), actor=self.alice, reason="x")
        assert not batch.slots.exists()


class CreateTests(BatchTestCase):
    def test_what_its_people_have_judged_is_left_out_and_counted(self) -> None:
        self.set_overlap(2)
        builders.items(self.project, 4)
        builders.judgment(self.project, self.bob)
        skips.skip(lease=self.claim(self.bob), reason="cannot_judge")
        new = assign(self.project, self.bob)
        assert (new.items, new.judgments, new.judged, new.taken) == (2, 2, 2, 0)
        with pytest.raises(
            BatchError, match="4 were judged or opened by these people or are in a batch of theirs, 0"
        ):
            assign(self.project, self.bob)
        more = assign(self.project, self.eve)
        assert (more.items, more.taken) == (4, 0)

    def test_what_is_in_another_batch_is_left_out_and_counted(self) -> None:
        builders.items(self.project, 3)
        assign(self.project, self.bob, limit=1)
        new = assign(self.project, self.eve)
        assert (new.items, new.taken) == (2, 1)

    def test_which_items(self) -> None:
        builders.imported(
            self.project,
            *(
                {"prompt": text, "responses": ["a", "b", "c", "d"], "tags": tags, "metadata": {"n": n}}
                for n, (text, tags) in enumerate([("One?", ["x"]), ("Two?", ["x", "y"]), ("Three?", [])])
            ),
        )
        for search, found in (
            ({"tag": "y"}, ["Two?"]),
            ({"text": "three"}, ["Three?"]),
            ({"metadata": "n=0"}, ["One?"]),
        ):
            batch = assign(self.project, self.bob, **search).batch
            assert [str(slot.item.prompt) for slot in batch.slots.all()] == found

    def test_the_newest_come_first(self) -> None:
        builders.items(self.project, 3)
        batch = assign(self.project, self.bob, limit=1).batch
        assert batch.slots.get().item_id == Item.objects.latest("id").pk

    def test_members_are_notified_and_the_audit_trail_records_it(self) -> None:
        builders.items(self.project, 1)
        assign(self.project, self.bob)
        told = Notification.objects.get()
        assert (told.user, told.kind, told.subject) == (self.bob, "batch", "Week 48")
        entry = AuditEntry.objects.get(verb="batch.created")
        assert (entry.actor, entry.subject, entry.data["items"]) == (self.alice, "Week 48", 1)

    def test_what_is_wrong_is_refused_and_nothing_is_made(self) -> None:
        builders.items(self.project, 1)
        for field, sentence, change in (
            ("name", "has a name", {"name": " "}),
            ("name", "at most 80", {"name": "x" * 81}),
            ("users", "Only members", {"users": [self.charlie]}),
            ("users", "at least one", {"users": []}),
            ("due_at", "in the future", {"days": -1}),
            ("due_at", "within a year", {"days": 400}),
            ("limit", "from 1 to 5,000", {"limit": 0}),
            ("items", "No open item matches", {"tag": "nothing"}),
        ):
            users = change.pop("users", [self.bob])
            with pytest.raises(BatchError, match=sentence) as caught:
                assign(self.project, *users, **change)
            assert caught.value.field == field
        assert not Batch.objects.exists()
        assert not Slot.objects.filter(batch__isnull=False).exists()


class LaterTests(BatchTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 2)
        self.batch = assign(self.project, self.bob).batch
        Notification.objects.all().delete()

    def kinds(self) -> list[str]:
        return list(self.bob.notifications.order_by("pk").values_list("kind", flat=True))

    def test_people_are_reminded_once_before_and_once_after(self) -> None:
        assert batches.notify_of_due() == 0
        for days, kinds in (
            (2.1, ["batch_due"]),
            (2.2, ["batch_due"]),
            (3.1, ["batch_due", "batch_overdue"]),
        ):
            with patch("django.utils.timezone.now", return_value=in_days(days)):
                batches.notify_of_due()
                batches.notify_of_due()
            assert self.kinds() == kinds

    def test_not_where_all_is_done_or_it_is_closed(self) -> None:
        for _ in range(2):
            builders.judgment(self.project, self.bob)
        with patch("django.utils.timezone.now", return_value=in_days(4)):
            assert batches.notify_of_due() == 0
        builders.items(builders.project(self.alice, "Other"), 1)
        batches.close_batch(batch=self.batch, actor=self.alice)
        with patch("django.utils.timezone.now", return_value=in_days(4)):
            assert batches.notify_of_due() == 0

    def test_who_is_removed_leaves_it_and_a_batch_without_people_is_closed(self) -> None:
        member = Member.objects.select_related("project", "user").get(user=self.bob, project=self.project)
        members.remove_member(member=member, actor=self.alice)
        self.batch.refresh_from_db()
        assert self.batch.closed_at
        assert self.claim(self.eve)

    def test_an_erased_account_leaves_it(self) -> None:
        accounts.erase(user=self.bob, actor=self.bob)
        self.batch.refresh_from_db()
        assert self.batch.closed_at

    def test_changes_are_in_the_trail(self) -> None:
        batches.change_due(batch=self.batch, due_at=in_days(5), actor=self.alice)
        batches.close_batch(batch=self.batch, actor=self.alice)
        batches.close_batch(batch=self.batch, actor=self.alice)
        verbs = AuditEntry.objects.filter(verb__startswith="batch.").order_by("id")
        assert [entry.verb for entry in verbs] == ["batch.created", "batch.changed", "batch.closed"]
        with pytest.raises(BatchError, match="is closed"):
            batches.change_due(batch=self.batch, due_at=in_days(5), actor=self.alice)


class PageTests(AccessTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 4)

    def url(self, name: str = "batches", *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def form(self, **changes: object) -> dict[str, object]:
        due = f"{in_days(3):%Y-%m-%dT%H:%M}"
        return {"name": "Week 48", "users": [self.bob.pk], "due_at": due, "limit": 3} | changes

    def test_a_lead_assigns_one_and_sees_its_progress(self) -> None:
        self.sign_in(self.alice)
        page = self.client.post(self.url(), self.form(), follow=True)
        self.assertContains(page, "“Week 48” is assigned: 3 items, 3 judgments.")
        builders.judgment(self.project, self.bob)
        page = self.client.get(self.url())
        self.assertContains(page, "1 of 3 judgments")
        self.assertNotContains(page, "overdue")
        after_due()
        self.assertContains(self.client.get(self.url()), "overdue")

    def test_the_due_date_is_in_the_lead_s_zone(self) -> None:
        User.objects.filter(pk=self.alice.pk).update(time_zone="Asia/Kolkata")
        self.sign_in(self.alice)
        day = f"{in_days(3):%Y-%m-%d}"
        self.client.post(self.url(), self.form(due_at=f"{day}T17:30"))
        batch = Batch.objects.get()
        assert f"{batch.due_at:%Y-%m-%dT%H:%M}" == f"{day}T12:00"
        self.assertContains(self.client.get(self.url()), f'value="{day}T17:30"')
        self.client.post(self.url("batch-due", batch.pk), {"due_at": f"{day}T18:30"})
        batch.refresh_from_db()
        assert f"{batch.due_at:%H:%M}" == "13:00"

    def test_errors_appear_beside_their_field(self) -> None:
        self.sign_in(self.alice)
        for changes, sentence in (
            ({"name": ""}, "This field is required"),
            ({"users": []}, "Choose at least one member"),
            ({"users": [self.charlie.pk]}, "is not one of the available choices"),
            ({"due_at": "soon"}, "Enter a valid date/time"),
            ({"due_at": "2020-01-01T00:00"}, "in the future"),
            ({"limit": 0}, "greater than or equal to 1"),
            ({"metadata": "x"}, "name=value"),
            ({"tag": "none"}, "No open item matches"),
        ):
            page = self.client.post(self.url(), self.form(**changes))
            self.assertContains(page, sentence, status_code=422)
        assert not Batch.objects.exists()

    def test_closing_and_changing(self) -> None:
        batch = assign(self.project, self.bob).batch
        self.sign_in(self.alice)
        for due, sentence in (
            ("", "Enter a date"),
            ("2020-01-01T00:00", "in the future"),
            ("2020-13-01T00:00", "Enter"),
        ):
            page = self.client.post(self.url("batch-due", batch.pk), {"due_at": due}, follow=True)
            self.assertContains(page, sentence)
        self.assertRedirects(self.client.post(self.url("batch-close", batch.pk)), self.url())
        batch.refresh_from_db()
        assert batch.closed_at

    def test_who_may(self) -> None:
        batch = assign(self.project, self.bob, limit=1).batch
        self.check(Endpoint("batches", get=200, post=422))
        self.check(Endpoint("batch-due", (batch.pk,), post=302))
        self.check(Endpoint("batch-close", (batch.pk,), post=302))
        other = builders.project(self.alice, "Other")
        for name in ("batch-due", "batch-close"):
            assert self.client.post(reverse(name, args=[other.slug, batch.pk])).status_code == 404

    def test_home_shows_it_to_its_people(self) -> None:
        assign(self.project, self.bob, limit=3)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.bob)
        self.assertContains(self.client.get(reverse("home")), "1 of 3")
        Project.objects.update(gold_rate=0.1)
        page = self.client.get(reverse("home"))
        self.assertContains(page, "up to 10 left")
        for exact in ("1 of 3", "of 3", "2 left"):
            self.assertNotContains(page, exact)
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(reverse("home")), "Week 48")

    def test_two_open_batches_have_different_names(self) -> None:
        """A form that is sent twice assigns nothing more."""
        batch = assign(self.project, self.bob, limit=1, name="Twice").batch
        with pytest.raises(BatchError, match="an open batch 'Twice' already"):
            assign(self.project, self.bob, limit=1, name="Twice")
        batches.close_batch(batch=batch, actor=self.alice)
        assign(self.project, self.bob, limit=1, name="Twice")

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for _ in range(3):
            assign(self.project, self.bob, self.dana, limit=1)
            builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        self.client.get(self.url())
        # user, member, number of batches, batches, people, their users, counts, members of the form
        with self.assertNumQueries(8):
            self.client.get(self.url())


class ConcurrencyTests(TransactionTestCase):
    def test_a_batch_and_claims_at_once_give_no_slot_twice(self) -> None:
        alice = builders.user("alice", is_staff=True)
        project = builders.project(alice)
        people = [builders.user(f"a{n}") for n in range(4)]
        for user in people:
            builders.join(project, user, Member.Role.ANNOTATOR)
        builders.items(project, 20)

        def work(user: User) -> None:
            try:
                while leases.claim(project=project, annotator=user) is not None:
                    builders.judgment(project, user)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=[user]) for user in people]
        for thread in threads:
            thread.start()
        assign(project, people[0], limit=20)
        for thread in threads:
            thread.join()
        # whoever found only reserved items left has stopped; the batch's own person finishes it
        while leases.claim(project=project, annotator=people[0]) is not None:
            builders.judgment(project, people[0])
        assert Judgment.objects.count() == 20
        assert Judgment.objects.values("item").distinct().count() == 20
