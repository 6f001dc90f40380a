"""What we write we read: exports come back with ids, tags, metadata and, as far as they can carry them, authors."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from unittest.mock import patch

import pytest

from annotation.actions import imports, uploads, worker_jobs
from annotation.exports.formats import FORMATS
from annotation.imports.conversion import Converter
from annotation.imports.dataset_formats import detect_format
from annotation.imports.prompt_schema import ImportedPrompt
from annotation.models import ImportedJudgment, Item, Slot
from tests import builders
from tests.annotation.exports.base import ExportTestCase

DIALOGUE = "Sure:\n\nHuman: Hello.\n\nAssistant: Hello, how may I help?\n\nHuman: Bye."


@pytest.mark.filterwarnings("ignore")
class RoundTripTests(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.imported(
            self.project,
            {
                "id": "one",
                "prompt": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Name a fruit."},
                    {"role": "assistant", "content": "Apple."},
                    {"role": "user", "content": "Another, with \U0001f34f and \u2028?"},
                ],
                "responses": [
                    {"text": "Pear.", "author": "small", "metadata": {"seed": 7}},
                    {"text": "A fig\u200b tree.", "author": "large"},
                    {"text": "العربية", "author": "large"},
                ],
                "tags": ["fruit", "language:en"],
                "metadata": {"source": "web", "nested": [1, 2.5, None]},
            },
            {
                "id": "two",
                "prompt": "Write a dialogue.",
                "responses": [{"text": DIALOGUE, "author": "small"}, {"text": "No.", "author": "large"}],
            },
        )
        for _ in range(2):
            builders.judgment(self.project, self.bob)

    def read(self, format: str) -> list[ImportedPrompt]:
        rows: list[dict[str, Any]] = self.lines(format=format, origin="true")
        assert rows, format
        converter = Converter(detect_format(rows[0]))
        prompts = [converter.convert(row) for row in rows]
        assert not converter.undecided, format
        return prompts

    def test_raw_comes_back_whole(self) -> None:
        by_id = {prompt.external_id: prompt for prompt in self.read("raw")}
        assert set(by_id) == {"one", "two"}
        for prompt in self.project.prompts.all():
            read = by_id[prompt.external_id]
            assert (read.messages, read.tags, read.metadata) == (
                prompt.messages,
                prompt.tags,
                prompt.metadata,
            )
            assert sorted((r.text, r.author, json.dumps(r.metadata)) for r in read.responses) == sorted(
                (r.text, r.author.name, json.dumps(r.metadata)) for r in prompt.responses.all()
            )

    def test_every_format_comes_back_with_what_its_rows_say_of_their_origin(self) -> None:
        for format in FORMATS:
            for prompt in self.read(format):
                ours = self.project.prompts.get(external_id=prompt.external_id)
                assert prompt.tags == ours.tags, format
                assert prompt.metadata.items() >= ours.metadata.items(), format
                authors = dict(ours.responses.values_list("text", "author__name"))
                for response in prompt.responses:
                    text = response.text.replace("\n\n Human:", "\n\nHuman:").replace(
                        "\n\n Assistant:", "\n\nAssistant:"
                    )
                    assert text in authors, format
                    if FORMATS[format].rows in ("raw", "rankings", "pairs"):
                        assert response.author == authors[text], format

    def test_authors_follow_the_answers_that_they_wrote(self) -> None:
        """`chosen_model` is of the better answer, which is the second one of two in some rows."""
        for format in ("summarize", "nemo-rl", "trl", "helpsteer3"):
            for prompt in self.read(format):
                ours = self.project.prompts.get(external_id=prompt.external_id).responses
                for response in prompt.responses:
                    assert response.author in ("imported", ours.get(text=response.text).author.name), format

    def test_two_judgments_of_an_item_are_two_rows(self) -> None:
        Slot.objects.create(item=Item.objects.earliest("pk"), project=self.project)
        builders.judgment(self.project, self.dana)
        for format in ("rankings", "kto", "raw"):
            rows = self.lines(format=format, origin="true")
            content = "\n".join(map(json.dumps, rows)).encode()
            other = builders.project(self.alice, f"As {format}")
            upload = uploads.save_upload(
                project=other, name="r.jsonl", file=BytesIO(content), creator=self.alice
            )
            imports.start(upload, judgments="import")
            with patch.object(worker_jobs.Heartbeat, "_beat"):
                claimed = imports.claim(upload.pk)
                assert claimed is not None
                imports.run_import(claimed)
            assert claimed.state == "done", claimed.report
            by = set(ImportedJudgment.objects.filter(item__project=other).values_list("annotator", "account"))
            assert by == {(self.bob.pseudonym, "person"), (self.dana.pseudonym, "person")}, format

    def test_turn_marks_within_a_text_part_no_turns(self) -> None:
        [pair] = [
            row for row in self.lines(format="hh-rlhf", origin="true") if row["origin"]["prompt_id"] == "two"
        ]
        assert "\n\n Human: Bye." in pair["chosen"] + pair["rejected"]
        prompt = Converter(detect_format(pair)).convert(pair)
        assert [len(prompt.messages), len(prompt.responses), prompt.left_out] == [1, 2, ()]
