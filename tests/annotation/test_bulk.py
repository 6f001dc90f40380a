"""Acts on several rows of a list, and their undo."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.actions import bulk_batches, bulk_items, items, leases, review, rules
from annotation.models import AuditEntry, Batch, Item, Judgment, Member, Notification, Prompt, Slot, User
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


class TagTests(BulkTestCase):
    def setUp(self) -> None:
        self.more_items(3)
        self.ids = sorted(Item.objects.values_list("pk", flat=True))
        Prompt.objects.filter(items=self.ids[0]).update(tags=["web", "maths"])
        self.sign_in(self.alice)

    def all_tags(self) -> list[list[str]]:
        return [item.prompt.tags for item in Item.objects.select_related("prompt").order_by("pk")]

    def test_a_tag_is_added_and_all_comes_back(self) -> None:
        page = self.act("items", "tag", *self.ids, tag="  web ", query="state=open")
        assert page.redirect_chain == [(f"{self.url('items')}?state=open", 302)]
        said = "The tag is added to the prompts of 2 items. 1 row stays as it was."
        assert self.messages_of(page) == [said]
        assert self.all_tags() == [["web", "maths"], ["web"], ["web"]]
        assert AuditEntry.objects.filter(verb="prompt.tagged", data__tag="web").count() == 2
        Prompt.objects.filter(items=self.ids[2]).update(tags=["web", "new"])
        assert self.undo(page) == [
            "1 row is as it was before.",
            "1 row was not put back: somebody has changed it since.",
        ]
        assert self.all_tags() == [["web", "maths"], [], ["web", "new"]]
        assert AuditEntry.objects.filter(verb="prompt.untagged").count() == 1

    def test_a_tag_is_removed_and_comes_back_to_its_place(self) -> None:
        page = self.act("items", "untag", *self.ids, tag="web")
        assert self.messages_of(page) == [
            "The tag is removed from the prompt of 1 item. 2 rows stay as they were."
        ]
        assert self.all_tags() == [["maths"], [], []]
        assert self.undo(page) == ["1 row is as it was before."]
        assert self.all_tags() == [["web", "maths"], [], []]
        assert AuditEntry.objects.filter(verb="prompt.tagged").count() == 1

    def test_items_of_one_prompt_have_its_tags(self) -> None:
        first, second, _ = (Item.objects.get(pk=pk) for pk in self.ids)
        Item.objects.filter(pk=second.pk).update(prompt=first.prompt)
        page = self.act("items", "tag", first.pk, second.pk, tag="new")
        assert self.all_tags()[:2] == [["web", "maths", "new"]] * 2
        assert AuditEntry.objects.filter(verb="prompt.tagged").count() == 1
        assert self.undo(page) == ["2 rows are as they were before."]
        assert self.all_tags()[:2] == [["web", "maths"]] * 2

    def test_what_is_no_tag_is_refused(self) -> None:
        for tag in ("", "  ", "x" * 61, "a\0b"):
            page = self.act("items", "tag", *self.ids, tag=tag)
            assert self.messages_of(page) == ["A tag has 1 to 60 characters."], tag
        assert self.all_tags() == [["web", "maths"], [], []]

    def test_a_prompt_has_at_most_a_hundred(self) -> None:
        Prompt.objects.filter(items=self.ids[0]).update(tags=[str(n) for n in range(100)])
        assert self.messages_of(self.act("items", "tag", self.ids[0], tag="new")) == [
            "1 row stays as it was."
        ]
        assert len(self.all_tags()[0]) == 100

    def test_leads_alone_tag_and_only_their_own_project_s_prompts(self) -> None:
        other = builders.project(self.charlie, "Other", k=3)
        builders.items(other, 1, k=3)
        theirs = Item.objects.get(project=other)
        self.act("items", "tag", theirs.pk, tag="new")
        assert Prompt.objects.get(pk=theirs.prompt_id).tags == []
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(self.url("items")), 'name="tag" maxlength')
        for do, data in (("tag", {"tag": "new"}), ("assign", {"batch": "1"})):
            page = self.act("items", do, *self.ids, **data)
            assert self.messages_of(page) == ["Select some rows, and press one of the buttons."]
        assert self.all_tags()[:3] == [["web", "maths"], [], []]


class BatchTests(BulkTestCase):
    def setUp(self) -> None:
        self.more_items(4)
        self.ids = sorted(Item.objects.values_list("pk", flat=True))
        self.batch = self.new_batch("Week 48", self.bob)
        self.sign_in(self.alice)

    def new_batch(self, name: str, *people: User) -> Batch:
        batch = Batch.objects.create(
            project=self.project, name=name, created_by=self.alice, due_at="2027-01-01T00:00Z"
        )
        for user in people:
            batch.people.create(user=user)
        return batch

    def in_batch(self, batch: Batch) -> list[int]:
        return sorted(Slot.objects.filter(batch=batch).values_list("item", flat=True))

    def test_items_are_put_into_a_batch_and_taken_out_again(self) -> None:
        builders.judgment(self.project, self.bob)
        (judged,) = Judgment.objects.values_list("item", flat=True)
        others = [pk for pk in self.ids if pk != judged]
        self.assertContains(self.client.get(self.url("items")), "Week 48</option>")
        page = self.act("items", "assign", *self.ids, batch=str(self.batch.pk))
        assert self.messages_of(page) == ["3 items are in the batch now. 1 row stays as it was."]
        # a slot for the one person of the batch
        assert self.in_batch(self.batch) == others
        assert AuditEntry.objects.get(verb="batch.extended").data["items"] == 3
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        assert lease.item_id in others
        assert self.undo(page) == ["3 rows are as they were before."]
        assert self.in_batch(self.batch) == []
        assert AuditEntry.objects.get(verb="batch.reduced").data["items"] == 3

    def test_what_is_judged_since_stays(self) -> None:
        page = self.act("items", "assign", *self.ids[:2], batch=str(self.batch.pk))
        builders.judgment(self.project, self.bob)
        assert self.undo(page) == [
            "1 row is as it was before.",
            "1 row was not put back: somebody has changed it since.",
        ]
        assert len(self.in_batch(self.batch)) == 1

    def test_slots_of_a_closed_batch_come_back_to_it(self) -> None:
        old = self.new_batch("Week 47", self.bob)
        Slot.objects.filter(item=self.ids[0]).update(batch=old)
        Batch.objects.filter(pk=old.pk).update(closed_at="2026-11-01T00:00Z")
        before = self.slots()
        page = self.act("items", "assign", self.ids[0], batch=str(self.batch.pk))
        assert self.in_batch(self.batch) == [self.ids[0]]
        self.undo(page)
        assert self.slots() == before

    def test_only_an_open_batch_of_the_project_takes_items(self) -> None:
        closed = self.new_batch("Week 46", self.bob)
        Batch.objects.filter(pk=closed.pk).update(closed_at="2026-11-01T00:00Z")
        other = builders.project(self.charlie, "Other", k=3)
        theirs = Batch.objects.create(
            project=other, name="Theirs", created_by=self.charlie, due_at="2027-01-01T00:00Z"
        )
        for batch in (str(closed.pk), str(theirs.pk), "", "x", "9" * 18):
            page = self.act("items", "assign", *self.ids, batch=batch)
            assert self.messages_of(page) == ["Choose an open batch."], batch
        assert not Slot.objects.exclude(batch=None).exists()

    def test_a_batch_has_a_largest_number_of_items(self) -> None:
        with mock.patch.object(bulk_batches, "MAX_BATCH_ITEMS", 2):
            page = self.act("items", "assign", *self.ids, batch=str(self.batch.pk))
        assert self.messages_of(page) == ["A batch has at most 2 items."]
        assert self.in_batch(self.batch) == []
