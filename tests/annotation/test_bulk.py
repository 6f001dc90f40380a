"""Acts on several rows of a list, and their undo."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.actions import bulk_items, items, leases, review, rules
from annotation.models import AuditEntry, Batch, Item, Member, Notification, Slot
from annotation.views import bulk
from tests import builders
from tests.analytics import AnalyticsTestCase


class BulkTestCase(AnalyticsTestCase):
    def act(self, name: str, do: str, *ids: int, **data: str) -> Any:
        return self.client.post(self.url(f"{name}-bulk"), {"do": do, "id": list(ids)} | data, follow=True)

    def undo(self, page: Any) -> list[str]:
        """Presses the button of the message; returns what is said then."""
        (message,) = page.context["messages"]
        tag, address, token = message.extra_tags.split()
        assert tag == "undo"
        self.assertContains(page, f'name="token" value="{token}"')
        return self.messages_of(self.client.post(address, {"token": token}, follow=True))

    def messages_of(self, page: Any) -> list[str]:
        return [str(message) for message in page.context["messages"]]

    def slots(self) -> list[dict[str, Any]]:
        names = ("item", "state", "priority", "random_key", "control_key", "restricted", "batch", "gold")
        return list(Slot.objects.order_by("item", "random_key").values(*names))


class ItemTests(BulkTestCase):
    def setUp(self) -> None:
        self.more_items(4)
        self.ids = sorted(Item.objects.values_list("pk", flat=True))
        self.sign_in(self.alice)

    def states(self) -> list[str]:
        return list(Item.objects.order_by("pk").values_list("state", flat=True))

    def test_leads_and_reviewers_act(self) -> None:
        for name in ("items-bulk", "items-undo"):
            for person, status in ((self.charlie, 404), (self.bob, 403), (self.dana, 302), (self.alice, 302)):
                self.sign_in(person)
                assert self.client.post(self.url(name), {"do": "retire"}).status_code == status, person
            assert self.client.get(self.url(name)).status_code == 405
            self.client.logout()
            assert self.client.post(self.url(name)).url.startswith("/sign-in/")

    def test_they_are_retired_and_all_comes_back(self) -> None:
        batch = Batch.objects.create(
            project=self.project, name="Week 48", created_by=self.alice, due_at="2027-01-01T00:00Z"
        )
        Slot.objects.filter(item=self.ids[0]).update(batch=batch, priority=7)
        skip = self.sent(Item.objects.get(pk=self.ids[1]), self.bob)
        before = self.slots()
        page = self.act("items", "retire", *self.ids[:3], reason="Not needed.", query="state=open")
        assert page.redirect_chain == [(f"{self.url('items')}?state=open", 302)]
        assert self.messages_of(page) == ["3 items are retired."]
        assert self.states() == ["retired"] * 3 + ["open"]
        assert Item.objects.get(pk=self.ids[0]).retired_reason == "Not needed."
        assert not Slot.objects.filter(item__in=self.ids[:3]).exists()
        skip.refresh_from_db()
        assert skip.resolved_at
        assert AuditEntry.objects.filter(verb="item.retired", actor=self.alice).count() == 3
        assert self.undo(page) == ["3 rows are as they were before."]
        assert self.states() == ["open"] * 4
        assert self.slots() == before
        skip.refresh_from_db()
        assert skip.resolved_at is None
        assert AuditEntry.objects.filter(verb="item.reopened", data__undo=True).count() == 3

    def test_what_somebody_changed_since_stays(self) -> None:
        page = self.act("items", "retire", *self.ids[:3], reason="Not needed.")
        review.reopen(item=Item.objects.get(pk=self.ids[0]), actor=self.dana)
        review.retire(item=Item.objects.get(pk=self.ids[0]), actor=self.dana, reason="Mine.")
        assert self.undo(page) == [
            "2 rows are as they were before.",
            "1 row was not put back: somebody has changed it since.",
        ]
        assert self.states() == ["retired", "open", "open", "open"]
        assert Item.objects.get(pk=self.ids[0]).retired_reason == "Mine."

    def test_an_undo_works_once_and_for_whoever_acted(self) -> None:
        page = self.act("items", "retire", self.ids[0], reason="Not needed.")
        (message,) = page.context["messages"]
        _undo, address, token = message.extra_tags.split()
        self.sign_in(self.dana)
        assert self.messages_of(self.client.post(address, {"token": token}, follow=True)) == [
            "This can no longer be undone."
        ]
        self.sign_in(self.alice)
        self.client.post(address, {"token": token}, follow=True)
        assert self.states()[0] == "open"
        for wrong in (token, "", "x" * 300):
            again = self.client.post(address, {"token": wrong}, follow=True)
            assert self.messages_of(again) == ["This can no longer be undone."]

    def test_they_are_restricted_and_reopened_and_that_is_undone(self) -> None:
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease
        before = self.slots()
        page = self.act("items", "restrict", *self.ids)
        assert self.messages_of(page) == ["4 items are for reviewers only."]
        assert all(slot["restricted"] for slot in self.slots())
        builders.submit(lease)  # who has it on the screen may finish it
        assert self.undo(page) == ["4 rows are as they were before."]
        done = [slot for slot in self.slots() if slot["state"] == "done"]
        assert [slot["item"] for slot in done] == [lease.item_id]
        assert sum(not slot["restricted"] for slot in self.slots()) == len(before) - 1

        items.restrict(item=Item.objects.get(pk=self.ids[0]), actor=None, reason="Skipped often.")
        review.retire(item=Item.objects.get(pk=self.ids[1]), actor=self.dana, reason="Odd.")
        before = self.slots()
        page = self.act("items", "reopen", *self.ids)
        assert self.messages_of(page) == ["2 items are back in the queue. 2 rows stay as they were."]
        assert self.undo(page) == ["2 rows are as they were before."]
        assert self.states() == ["restricted", "retired", "open", "open"]
        assert self.slots() == before

    def test_a_known_answer_is_not_deleted(self) -> None:
        (item,) = self.gold_missed_by(self.bob)
        review.retire(item=item, actor=self.alice, reason="Odd.")
        self.sign_in(self.alice)
        assert self.messages_of(self.act("items", "reopen", item.pk)) == ["1 row stays as it was."]
        item.refresh_from_db()
        assert item.gold

    def test_all_that_match_and_no_other_project_s(self) -> None:
        other = builders.project(self.charlie, "Other", k=3)
        builders.items(other, 1, k=3)
        theirs = other.items.get()
        page = self.act("items", "retire", theirs.pk, reason="Not needed.")
        assert self.messages_of(page) == ["1 row stays as it was."]
        page = self.act("items", "retire", all="on", query="text=Question 0", reason="Not needed.")
        assert self.messages_of(page) == ["1 item is retired."]
        page = self.act("items", "retire", all="on", reason="Not needed.")
        assert self.messages_of(page) == ["3 items are retired. 1 row stays as it was."]
        theirs.refresh_from_db()
        assert theirs.state == "open"

    def test_there_is_a_bound(self) -> None:
        with mock.patch.object(bulk, "MAX_ROWS", 3):
            assert self.messages_of(self.act("items", "restrict", all="on")) == [
                "3 items are for reviewers only."
            ]

    def test_what_is_refused_changes_nothing(self) -> None:
        for do, ids, data, sentence in (
            ("retire", self.ids, {}, "Say why nobody should judge this item any more."),
            ("retire", self.ids, {"reason": "x\0"}, "The reason holds a null byte."),
            ("delete", self.ids, {}, "Select some rows, and press one of the buttons."),
            ("retire", [], {"reason": "So."}, "Select some rows, and press one of the buttons."),
        ):
            assert self.messages_of(self.act("items", do, *ids, **data)) == [sentence]
        assert self.states() == ["open"] * 4
        assert not AuditEntry.objects.filter(verb="item.retired").exists()

    def test_the_queries_of_an_act_and_of_its_undo_do_not_grow_with_the_rows(self) -> None:
        def count(ids: list[int]) -> list[int]:
            values: dict[str, Any] = {"project": self.project, "actor": self.alice}
            with CaptureQueriesContext(connection) as acted:
                changes = bulk_items.retire(ids=ids, reason="Not needed.", **values)
            with CaptureQueriesContext(connection) as undone:
                assert bulk_items.undo(changes=changes, **values) == len(ids)
            return [len(acted), len(undone)]

        assert count(self.ids[:1]) == count(self.ids[1:])

    def test_its_page_has_what_it_needs(self) -> None:
        page = self.client.get(self.url("items"), {"state": "open"})
        self.assertContains(page, 'data-check-row aria-label="Select item', count=4)
        self.assertContains(page, '<input type="hidden" name="query" value="state=open">')
        self.assertContains(page, 'id="bulk"', count=1)


class MemberTests(BulkTestCase):
    def members(self) -> list[Member]:
        return list(Member.objects.filter(project=self.project).order_by("user__username"))

    def test_leads_act(self) -> None:
        for name in ("members-bulk", "members-undo"):
            for person, status in ((self.charlie, 404), (self.bob, 403), (self.dana, 403), (self.alice, 302)):
                self.sign_in(person)
                assert self.client.post(self.url(name)).status_code == status, person
            self.client.logout()
            assert self.client.post(self.url(name)).url.startswith("/sign-in/")

    def test_they_are_paused_and_resumed_and_each_is_undone(self) -> None:
        self.sign_in(self.alice)
        _alice, bob, _dana, erin = self.members()
        Member.objects.filter(pk=erin.pk).update(warned_at="2026-11-20T12:00Z", warning="Slower.")
        page = self.act("members", "pause", bob.pk, erin.pk, reason="A rest.")
        assert self.messages_of(page) == ["2 people get no more work."]
        assert [m.paused_reason for m in self.members()] == ["", "A rest.", "", "A rest."]
        assert self.undo(page) == ["2 rows are as they were before."]
        erin.refresh_from_db()
        assert (erin.paused_at, erin.warning) == (None, "Slower."), "a warning is not lifted by it"
        kinds = Notification.objects.filter(user=self.bob).order_by("pk").values_list("kind", flat=True)
        assert list(kinds) == ["paused", "resumed"]

        page = self.act("members", "resume", bob.pk, erin.pk)
        assert self.messages_of(page) == ["1 person can continue. 1 row stays as it was."]
        assert self.undo(page) == ["1 row is as it was before."]
        erin.refresh_from_db()
        assert erin.warning == "Slower."

    def test_who_was_resumed_since_stays(self) -> None:
        self.sign_in(self.alice)
        _alice, bob, _dana, erin = self.members()
        page = self.act("members", "pause", bob.pk, erin.pk, reason="A rest.")
        rules.resume(member=bob, actor=self.dana)
        assert self.undo(page) == [
            "1 row is as it was before.",
            "1 row was not put back: somebody has changed it since.",
        ]
        assert [m.paused_at for m in self.members()] == [None] * 4

    def test_its_page_has_what_it_needs(self) -> None:
        self.sign_in(self.alice)
        page = self.client.get(self.url("members"))
        self.assertContains(page, 'data-check-row aria-label="Select', count=4)
        for act in ("pause", "resume"):
            self.assertContains(page, f'name="do" value="{act}"', count=1)

    def test_a_pause_needs_a_reason(self) -> None:
        self.sign_in(self.alice)
        page = self.act("members", "pause", *[m.pk for m in self.members()])
        assert self.messages_of(page) == ["Give a reason: they read it above their work."]
        assert [m.paused_at for m in self.members()] == [None] * 4
