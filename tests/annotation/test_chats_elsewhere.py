"""Live chats on all other pages: their items are ordinary ones, with one judgment each; better answers have no candidates."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from annotation.actions import bulk_items, chats, import_rows, items, judgments, review, snapshots
from annotation.actions.review import ReviewError
from annotation.models import Item, Judgment, Member, Slot, Turn
from tests import builders, live_chats
from tests.base import PalateTestCase

BETTER = "The earth turns under two bulges of water."


class ChatsElsewhereTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.project.overlap = 2
        self.project.save()
        live_chats.enable(self.project)
        builders.items(self.project, 2)
        for person in (self.bob, self.dana):
            builders.judgment(self.project, person)
        self.turns = live_chats.chat_of(self.project, self.bob, "How do tides work?", "And why twice a day?")
        self.written = live_chats.improve(self.turns[1], BETTER)
        live_chats.answer(live_chats.send(self.project, self.bob, "In hand?"))
        dropped = live_chats.answer(live_chats.send(self.project, self.bob, "Dropped?"))
        chats.drop(turn=dropped)
        self.same = live_chats.answer(live_chats.send(self.project, self.bob, "Equal?"), "Yes.", "Yes.")
        live_chats.send(self.project, self.dana, "Not answered yet?")
        snapshots.create_snapshot(project=self.project, creator=self.alice)

    def page(self, name: str, *args: object, query: str = "") -> str:
        response = self.client.get(reverse(name, args=args) + query)
        assert response.status_code == 200, (name, args)
        return response.content.decode()

    def test_every_page_of_a_lead_opens(self) -> None:
        self.sign_in(self.alice)
        slug = self.project.slug
        for name in (
            *("project", "project-settings", "members", "batches", "progress", "quality", "review", "items"),
            *(
                "ai-feedback",
                "rules",
                "audit",
                "snapshots",
                "runs",
                "rounds",
                "round-new",
                "models",
                "guidelines",
            ),
        ):
            self.page(name, slug)
        for kind in ("reward", "sft", "dpo", "evaluate", "generate"):
            self.page("run-new", slug, kind)
        self.page("snapshot", slug, 1)
        self.page("annotator", slug, self.bob.username)
        for name in ("progress", "quality", "items", "review"):
            self.page(name, slug, query="?tag=chat")

    def test_every_item_of_a_chat_has_its_page(self) -> None:
        self.sign_in(self.alice)
        of_chats = Item.objects.filter(prompt__turn__isnull=False)
        assert of_chats.count() == 5
        for item in of_chats:
            page = self.page("item", self.project.slug, item.pk)
            assert ("And why twice a day?" in page) == (item.prompt_id == self.turns[1].prompt_id)
        assert BETTER in self.page("item", self.project.slug, self.written.item_id)

    def test_the_annotator_finds_their_judgments_and_better_answers(self) -> None:
        self.sign_in(self.bob)
        assert self.page("my-judgments").count("And why twice a day?") == 2
        self.page("my-work")
        self.page("home")
        for judgment in Judgment.objects.filter(annotator=self.bob):
            self.page("my-judgment", judgment.pk)
        assert BETTER in self.page("my-judgment", self.written.pk)

    def test_a_choice_can_be_revised_and_the_chat_stays_as_it_is(self) -> None:
        judgment = Judgment.objects.get(item=self.turns[0].item)
        ranks = dict(zip(judgment.shown_order, (2, 1), strict=True))
        revision = judgments.revise(
            judgment=judgment,
            annotator=self.bob,
            ranks=ranks,
            degree="slightly",
            idempotency_key=self.turns[0].key,
        )
        assert revision.supersedes == judgment
        before = self.turns[0].answer
        assert live_chats.reloaded(self.turns[0]).answer == before

    def test_a_better_answer_can_be_revised(self) -> None:
        revision = judgments.revise(
            judgment=self.written,
            annotator=self.bob,
            ranks={},
            text="Two bulges.",
            idempotency_key=self.turns[0].key,
        )
        assert revision.demonstration is not None
        assert revision.demonstration.text == "Two bulges."

    def test_the_queue_counts_no_item_of_a_chat_as_left_to_judge(self) -> None:
        other = builders.project(self.alice, "Chats alone")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        live_chats.enable(other)
        live_chats.chat_of(other, self.bob, "One?", "Two?")
        live_chats.answer(live_chats.send(other, self.bob, "In hand?"))
        self.sign_in(self.alice)
        for name in ("project", "progress", "quality", "items", "review", "members", "models"):
            self.page(name, other.slug)
        self.sign_in(self.bob)
        assert "No items left for you" in self.page("work", other.slug)

    def test_a_reviewer_judges_an_item_of_a_chat(self) -> None:
        item = self.turns[0].item
        assert item is not None
        ranks = {pk: place + 1 for place, pk in enumerate(item.responses.values_list("pk", flat=True))}
        review.give_verdict(item=item, reviewer=self.dana, ranks=ranks, degree="better", note="")

    def test_a_choice_that_was_retired_stays_its_annotator_s_alone(self) -> None:
        item = self.turns[0].item
        assert item is not None
        for reopen in (review.reopen, items.reopen):
            items.retire(item=item, actor=self.alice, reason="Odd.")
            item.refresh_from_db()
            reopen(item=item, actor=self.alice)
            item.refresh_from_db()
            assert item.state == Item.State.OPEN
            assert [slot.state for slot in item.slots.all()] == [Slot.State.DONE]

    def test_a_choice_that_is_open_goes_back_to_its_annotator(self) -> None:
        turn = live_chats.answer(live_chats.send(self.project, self.bob, "In the Baltic?"))
        item, lease = turn.item, chats.lease_of(turn)
        assert item is not None
        assert lease is not None
        items.retire(item=item, actor=self.alice, reason="Odd.")
        item.refresh_from_db()
        review.reopen(item=item, actor=self.alice)
        slot = item.slots.get()
        assert (slot.annotator, slot.chat, slot.shown_order) == (self.bob, True, lease.shown_order)
        assert live_chats.judge(turn).slot_id == slot.pk

    def test_undoing_gives_a_choice_back_to_its_annotator(self) -> None:
        turn = live_chats.answer(live_chats.send(self.project, self.bob, "In the Baltic?"))
        item = turn.item
        assert item is not None
        changes = bulk_items.retire(project=self.project, ids=[item.pk], actor=self.alice, reason="Odd.")
        assert bulk_items.undo(project=self.project, changes=changes, actor=self.alice) == 1
        slot = item.slots.get()
        assert (slot.annotator, slot.chat) == (self.bob, True)

    def test_an_item_that_its_chat_went_on_without_stays_retired(self) -> None:
        item = Item.objects.get(turn__state=Turn.State.DROPPED)
        with pytest.raises(ReviewError, match="was taken back"):
            review.reopen(item=item, actor=self.alice)
        assert not bulk_items.reopen(project=self.project, ids=[item.pk], actor=self.alice, reason="")
        item.refresh_from_db()
        assert item.state == Item.State.RETIRED
        assert not item.slots.exists()

    def test_a_better_answer_that_was_retired_stays_its_annotator_s_alone(self) -> None:
        item = self.written.item
        changes = bulk_items.retire(project=self.project, ids=[item.pk], actor=self.alice, reason="Odd.")
        assert bulk_items.undo(project=self.project, changes=changes, actor=self.alice) == 1
        items.retire(item=item, actor=self.alice, reason="Odd.")
        item.refresh_from_db()
        review.reopen(item=item, actor=self.alice)
        assert [slot.state for slot in item.slots.all()] == [Slot.State.DONE]

    def test_nothing_from_a_chat_can_be_gold(self) -> None:
        """Not on its page, by the API or by an import; nor with other answers than those of the chat."""
        slug, prompt = self.project.slug, self.turns[0].prompt
        row = {"id": prompt.external_id, "prompt": prompt.messages, "responses": ["Yes.", "No."]}
        assert self.send(row).items == 1
        self.sign_in(self.alice)
        for item in Item.objects.filter(prompt=prompt):
            ranks = {pk: place + 1 for place, pk in enumerate(item.responses.values_list("pk", flat=True))}
            with pytest.raises(ReviewError, match="Nothing from a live chat can be gold"):
                review.make_gold(item=item, actor=self.alice, ranks=ranks, explanation="Known.")
            page = self.page("item", slug, item.pk)
            assert "Save verdict" in page
            assert "Make gold" not in page
            form = {"do": "gold", "note": "Known.", "choice": "0-better"}
            answer = self.client.post(reverse("item-decide", args=[slug, item.pk]), form)
            self.assertContains(answer, "Nothing from a live chat can be gold", status_code=422)
            by_api = reverse("api-item-act", args=[slug, item.pk, "gold"])
            body = {"ranks": [1, 2], "explanation": "Known."}
            answer = self.client.post(by_api, body, "application/json")
            self.assertContains(answer, "Nothing from a live chat can be gold", status_code=400)
        assert "is from a live chat" in self.send(row | {"gold": [1, 2]}).errors[0][1]
        assert not Item.objects.filter(gold__isnull=False).exists()

    def send(self, row: dict[str, object]) -> import_rows.ImportReport:
        return import_rows.import_lines(project=self.project, lines=[json.dumps(row).encode()])
