"""What the exports are for: the field's own library reads them as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from datasets import List, Value, load_dataset

from tests import builders
from tests.annotation.api.base import ApiTestCase

MESSAGES = List({"role": Value("string"), "content": Value("string")})


class DatasetsTests(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        builders.items(self.project, 3)
        builders.imported(
            self.project,
            {
                "prompt": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "What\u2028is \u202bهذا\u202c?\r\n"},
                ],
                "responses": ["It is \U0001f600 <b>", "No\x0bidea\x85."],
                "tags": ["odd"],
            },
        )
        for _ in range(3):
            builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.dana)

    def load(self, format: str):
        file = self.folder / f"{format}.jsonl"
        answer = self.get(f"projects/helpfulness/judgments/?format={format}", self.alice)
        file.write_bytes(self.body_of(answer))
        return load_dataset("json", data_files=str(file), split="train", cache_dir=str(self.folder / "cache"))

    def test_trl_has_the_columns_of_a_conversational_preference_set(self) -> None:
        data = self.load("trl")
        assert data.features == {
            "prompt": MESSAGES,
            "chosen": MESSAGES,
            "rejected": MESSAGES,
            "margin": Value("float64"),
        }
        assert len(data) == 3 * 6 + 1
        (odd,) = [row for row in data if len(row["prompt"]) == 2]
        assert odd["prompt"][1]["content"] == "What\u2028is \u202bهذا\u202c?\r\n"
        texts = {odd["chosen"][0]["content"], odd["rejected"][0]["content"]}
        assert texts == {"It is \U0001f600 <b>", "No\x0bidea\x85."}
        assert odd["margin"] == 2 / 3
        assert {row["chosen"][0]["role"] for row in data} == {"assistant"}

    def test_rankings_have_texts_and_ranks(self) -> None:
        data = self.load("rankings")
        assert data.features == {
            "prompt": MESSAGES,
            "responses": List(Value("string")),
            "ranks": List(Value("int64")),
        }
        assert len(data) == 4

    def test_raw_can_be_read_too(self) -> None:
        data = self.load("raw")
        assert {"judgment", "messages", "responses", "ranking", "shown_order", "annotator"} <= set(
            data.features
        )
        assert len(data) == 4
