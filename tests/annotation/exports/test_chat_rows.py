"""Live chats in every export: their judgments are pairs of conversations, and better answers are demonstrations."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import load_dataset

from annotation.actions import chats, export_files, snapshots
from annotation.exports import stream
from annotation.exports.dataset_card import render_card
from annotation.exports.formats import FORMATS
from annotation.exports.selection import VOTES, Selection, SelectionError
from annotation.models import Judgment
from annotation.store import store
from tests import builders, live_chats
from tests.annotation.exports.base import ExportTestCase, revise
from training.runs.queries import demonstrations

MESSAGES = ("How do tides work?", "And why twice a day?", "Thank you. In short?")
BETTER = "The earth turns under two bulges of water."


class ChatRowsTests(ExportTestCase):
    """A chat of three messages, a better answer to the second, and an item of the queue beside it."""

    def setUp(self) -> None:
        super().setUp()
        live_chats.enable(self.project)
        builders.items(self.project, 1, k=3)
        builders.judgment(self.project, self.dana)
        first, second = live_chats.chat_of(self.project, self.bob, *MESSAGES[:2])
        live_chats.improve(second, BETTER)
        third = live_chats.judged(self.project, self.bob, MESSAGES[2], live_chats.reloaded(second))
        self.turns = [first, second, third]
        self.chat = first.chat
        # neither judged nor in any export
        live_chats.answer(live_chats.send(self.project, self.dana, "Dropped?"))
        left = live_chats.send(self.project, self.dana, "Not judged?")
        chats.drop(turn=left)

    def of_chat(self, **given: str) -> list[dict[str, Any]]:
        return [row for row in self.raw(**given) if row["chat"] is not None]

    def test_raw_rows_name_the_chat_and_the_place_of_the_message(self) -> None:
        rows = self.raw()
        assert [(row["chat"], row["turn"]) for row in rows] == [
            (None, None),
            (self.chat.pk, 1),
            (self.chat.pk, 2),
            (self.chat.pk, 2),
            (self.chat.pk, 3),
        ]
        assert all(row["tags"] == ["chat"] for row in rows[1:])
        assert [len(row["ranks"]) for row in rows] == [3, 2, 2, 0, 2]

    def test_a_later_message_has_the_conversation_that_went_on(self) -> None:
        last = self.of_chat()[-1]
        assert [(message["role"], message["content"]) for message in last["messages"]] == [
            ("user", MESSAGES[0]),
            ("assistant", "Answer 1 of the first."),
            ("user", MESSAGES[1]),
            ("assistant", BETTER),
            ("user", MESSAGES[2]),
        ]
        assert [response["author"] for response in last["responses"]] == [live_chats.FIRST, live_chats.SECOND]

    def test_the_better_answer_is_a_demonstration_without_responses(self) -> None:
        [row] = [row for row in self.of_chat() if row["demonstration"]]
        assert (row["demonstration"], row["turn"], row["counted"]) == (BETTER, 2, True)
        for name in ("responses", "ranks", "ranking", "shown_order"):
            assert row[name] == [], name

    def test_pairs_of_every_format_are_the_choices_alone(self) -> None:
        for name, format in FORMATS.items():
            if format.rows != "pairs":
                continue
            rows = self.lines(format=name, tag="chat", origin="true")
            assert [
                len(self.project.prompts.get(external_id=r["origin"]["prompt_id"]).messages) for r in rows
            ] == [
                1,
                3,
                5,
            ], name
            for row in rows:
                assert row["origin"]["chosen_model"] == live_chats.FIRST, name
                assert row["origin"]["rejected_model"] == live_chats.SECOND, name

    def test_a_pair_of_a_conversation(self) -> None:
        row = self.lines(tag="chat")[1]
        assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
        assert row["chosen"] == [{"role": "assistant", "content": "Answer 2 of the first."}]
        assert row["rejected"] == [{"role": "assistant", "content": "Answer 2 of the second."}]
        assert row["margin"] > 0

    def test_every_format_has_the_chat_in_every_way_of_counting_votes(self) -> None:
        lines = {"pairs": 3, "answers": 6, "best": 4, "prompts": 3, "rankings": 3, "raw": 4, "duels": 3}
        for name, format in FORMATS.items():
            for votes in VOTES:
                try:
                    rows = self.lines(format=name, tag="chat", votes=votes)
                except SelectionError:
                    assert format.rows in ("raw", "duels", "prompts")
                else:
                    assert len(rows) == lines[format.rows], (name, votes)

    def test_what_was_written_is_in_sft_and_with_the_choices_once_each(self) -> None:
        rows = self.lines(format="sft", tag="chat")
        texts = sorted(row["completion"][0]["content"] for row in rows)
        assert texts == sorted([*(f"Answer {n} of the first." for n in (1, 2, 3)), BETTER])

    def test_parquet_has_both_columns_as_numbers(self) -> None:
        table = pq.read_table(io.BytesIO(self.bytes_of(format="raw", file="parquet")))
        assert (str(table.schema.field("chat").type), str(table.schema.field("turn").type)) == (
            "int64",
            "int64",
        )
        assert table.column("turn").to_pylist() == [None, 1, 2, 2, 3]

    def test_a_revised_choice_keeps_its_chat(self) -> None:
        judgment = Judgment.objects.get(item=self.turns[2].item)
        revise(judgment, [2, 1])
        assert [row["turn"] for row in self.of_chat()] == [1, 2, 2, 3]
        assert self.lines(tag="chat")[-1]["chosen"][0]["content"] == "Answer 3 of the second."

    def test_imported_judgments_have_no_chat(self) -> None:
        builders.imported(
            self.project,
            {
                "prompt": "Why?",
                "responses": ["Because.", "Why not?"],
                "judgments": [{"annotator": "x", "account": "person", "ranks": [1, 2]}],
            },
        )
        [row] = [row for row in self.raw() if row["imported"]]
        assert (row["chat"], row["turn"]) == (None, None)

    # --- snapshots ---

    def test_a_snapshot_has_the_same_rows(self) -> None:
        snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert [(row["chat"], row["turn"]) for row in snapshots.read_judgments(snapshot)] == [
            (row["chat"], row["turn"]) for row in self.raw()
        ]
        for name in FORMATS:
            selection = Selection.from_parameters({"format": name, "tag": "chat"}, of_snapshot=True)
            frozen = b"".join(stream.export_snapshot(snapshots.snapshot_path(snapshot), selection))
            assert frozen == self.bytes_of(format=name, tag="chat"), name
        assert (snapshot.counts["of_chats"], snapshot.counts["chats"]) == (4, 1)
        assert "4 of the judgments are of messages that annotators wrote in 1 live chats" in render_card(
            snapshot.manifest
        )

    def test_the_card_of_a_project_without_chats_does_not_speak_of_them(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.items(other)
        builders.judgment(other, self.alice)
        snapshot = snapshots.create_snapshot(project=other, creator=self.alice)
        assert "chats" not in snapshot.counts
        assert "live chat" not in render_card(snapshot.manifest)

    def test_a_snapshot_from_before_there_were_chats_is_read(self) -> None:
        snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        lines = snapshots.snapshot_path(snapshot).read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            del row["chat"], row["turn"]
        with tempfile.TemporaryDirectory() as folder:
            old = Path(folder) / "old.jsonl"
            old.write_text("".join(json.dumps(row) + "\n" for row in rows))
            selection = Selection.from_parameters({"format": "raw", "file": "parquet"})
            table = pq.read_table(io.BytesIO(b"".join(stream.export_snapshot(old, selection))))
        assert table.column("chat").to_pylist() == [None] * len(rows)

    def test_datasets_loads_the_folder_of_a_snapshot(self) -> None:
        snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(store().path(export_files.hub_zip(snapshot))) as archive:
                archive.extractall(folder)
            inside = Path(folder) / export_files.hub_name(snapshot)
            cache = str(Path(folder) / "cache")
            pairs = load_dataset(str(inside), "trl", cache_dir=cache)
            raw = load_dataset(str(inside), "raw", cache_dir=cache)
            rows = [row for split in raw.values() for row in split]
            assert sorted(row["turn"] for row in rows if row["chat"] is not None) == [1, 2, 2, 3]
            lengths = sorted(len(row["prompt"]) for split in pairs.values() for row in split)
            assert lengths == [1, 1, 1, 1, 3, 5]

    # --- fine-tuning ---

    def test_fine_tuning_learns_what_was_written_and_nothing_that_was_only_preferred(self) -> None:
        self.project.prompts.update(split="train")
        [(item, messages, text)] = demonstrations(self.project)
        assert (text, messages) == (BETTER, self.turns[1].prompt.messages)
        assert item == Judgment.objects.get(demonstration__isnull=False).item_id

    def test_fine_tuning_learns_nothing_of_a_held_out_chat(self) -> None:
        self.project.prompts.update(split="held_out")
        assert list(demonstrations(self.project)) == []
