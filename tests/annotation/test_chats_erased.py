"""Chats in one's personal data, and what erasing the account leaves of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from annotation import personal_data_export
from annotation.actions import accounts, erasures, queue, snapshots
from annotation.actions.queue import ItemSpec
from annotation.exports import stream
from annotation.exports.dataset_card import render_card
from annotation.exports.selection import Selection
from annotation.logic.erased_text import ERASED
from annotation.models import Chat, Item, Judgment, Prompt, Turn, User
from tests import builders, live_chats
from tests.base import PalateTestCase
from training.runs.queries import demonstrations, prompts_of

SECRET = "Carol Miller has the flu"


class ErasedChatsTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.settings(ARTIFACTS=folder))
        live_chats.enable(self.project)
        self.turns = live_chats.chat_of(self.project, self.bob, f"{SECRET}.", f"And {SECRET}?")
        live_chats.improve(self.turns[1], "Get well soon.")
        live_chats.answer(live_chats.send(self.project, self.bob, f"Unfinished: {SECRET}"))
        self.other = live_chats.chat_of(self.project, self.dana, "How do tides work?")[0]
        Prompt.objects.update(split="train")

    def erase(self, user: User) -> None:
        accounts.erase(user=user, actor=user)
        erasures.delete_texts(user)  # as a worker does

    def rows(self, **given: str) -> list[dict[str, Any]]:
        selection = Selection.from_parameters(given)
        text = b"".join(stream.export_project(self.project, selection)).decode()
        return [json.loads(line) for line in text.splitlines()]

    # --- personal data ---

    def test_one_s_messages_are_in_one_s_data_and_nobody_else_s(self) -> None:
        data = json.loads(b"".join(personal_data_export.export(self.bob)))
        messages = data["chat_messages"]
        assert [(m["text"], m["number"], m["state"]) for m in messages] == [
            (f"{SECRET}.", 1, "judged"),
            (f"And {SECRET}?", 2, "judged"),
            (f"Unfinished: {SECRET}", 1, "judging"),
        ]
        assert {m["project"] for m in messages} == {"helpfulness"}
        assert [d["text"] for d in data["demonstrations"]] == ["Get well soon."]
        shown = json.dumps(data)
        for hidden in (live_chats.FIRST, live_chats.SECOND, "tides"):
            assert hidden not in shown

    # --- erasing ---

    def test_what_was_written_goes_from_every_prompt_and_the_judgments_stay(self) -> None:
        before = list(Judgment.objects.order_by("pk").values())
        self.erase(self.bob)
        assert SECRET not in json.dumps(list(Prompt.objects.values_list("messages", flat=True)))
        second = Prompt.objects.get(pk=self.turns[1].prompt_id)
        assert [(m["role"], m["content"]) for m in second.messages] == [
            ("user", ERASED),
            ("assistant", "Answer 1 of the first."),
            ("user", ERASED),
        ]
        assert list(Judgment.objects.order_by("pk").values()) == before
        assert Prompt.objects.get(pk=self.other.prompt_id).messages == self.other.prompt.messages

    def test_open_chats_end_and_nothing_is_left_to_judge(self) -> None:
        self.erase(self.bob)
        assert not Chat.objects.filter(annotator=self.bob, ended_at=None).exists()
        assert not Turn.objects.filter(chat__annotator=self.bob, state__in=Turn.OPEN_STATES).exists()
        assert Chat.objects.filter(annotator=self.dana, ended_at=None).exists()

    def test_an_item_of_the_queue_that_shows_what_was_written_is_retired(self) -> None:
        prompt = Prompt.objects.get(pk=self.turns[0].prompt_id)
        spec = ItemSpec(prompt.pk, list(prompt.responses.values_list("pk", flat=True)))
        queue.enqueue(project=self.project, specs=[spec])
        item = Item.objects.latest("pk")
        self.erase(self.bob)
        item.refresh_from_db()
        assert (item.state, item.retired_reason) == ("retired", "its prompt was erased")
        judged = Item.objects.get(pk=self.turns[0].item_id)
        assert judged.state == "open"

    def test_nothing_is_learned_from_answers_to_what_was_erased(self) -> None:
        assert len(self.rows()) == 3
        assert len(list(demonstrations(self.project))) == 1
        assert prompts_of(self.project).count() == 3
        self.erase(self.bob)
        for name in ("trl", "sft", "kto", "rankings", "prompts", "helpsteer3", "ultrafeedback"):
            rows = self.rows(format=name)
            assert rows, name
            assert ERASED not in json.dumps(rows), name
        assert list(demonstrations(self.project)) == []
        assert [prompt.pk for prompt in prompts_of(self.project)] == [self.other.prompt_id]

    def test_raw_rows_and_snapshots_keep_the_judgments_without_the_text(self) -> None:
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice)
        self.erase(self.bob)
        assert [row["messages"][-1]["content"] for row in self.rows(format="raw")] == [
            ERASED,
            ERASED,
            ERASED,
            "How do tides work?",
        ]
        new = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert (new.counts["erased"], new.counts["judgments"], new.counts["demonstrations"]) == (3, 1, 0)
        assert new.counts["pairs"] == 1
        assert "3 judgments are of messages of chats whose author has erased" in render_card(new.manifest)
        assert len(list(snapshots.read_rankings(new))) == 1
        # frozen before: it keeps them, as it keeps reasons
        assert len(list(snapshots.read_rankings(frozen))) == 3
        assert SECRET in snapshots.snapshot_path(frozen).read_text()
        assert SECRET not in snapshots.snapshot_path(new).read_text()

    def test_pages_show_that_it_was_erased(self) -> None:
        self.erase(self.bob)
        self.sign_in(self.alice)
        for path in ("items/", f"items/{self.turns[1].item_id}/", "quality/", "progress/"):
            response = self.client.get(f"/p/helpfulness/{path}")
            assert response.status_code == 200, path
            assert SECRET not in response.content.decode()
        assert ERASED in self.client.get("/p/helpfulness/items/").content.decode()

    def test_an_account_without_chats_is_erased_as_ever(self) -> None:
        person = builders.user("erin")
        self.erase(person)
        assert SECRET in json.dumps(list(Prompt.objects.values_list("messages", flat=True)))
