"""Every format, made by PostgreSQL, against the rules written out in Python; and a snapshot against the tables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
from django.db import connection

from annotation.actions import snapshots
from annotation.exports import stream
from annotation.exports.formats import FORMATS, ORIGIN, ORIGIN_OF_PAIR
from annotation.exports.judgment_row import Type
from annotation.exports.selection import Selection
from annotation.logic import degrees, ranking
from annotation.models import Judgment
from tests import builders
from tests.annotation.exports.base import ExportTestCase


def pairs_of(row: dict[str, Any]) -> Iterator[tuple[int, int]]:
    yield from sorted(ranking.pairs(row["ranks"]))


PYTHON_TYPES = {"string": str, "int64": int, "float64": float, "bool": bool}


def leaves(value: Any, type: Type, path: str) -> Iterator[tuple[str, Any, str]]:
    """The path, value and declared type of each number, text and boolean in a row that is not null."""
    if value is None:
        return
    if isinstance(type, list):
        for inner in value:
            yield from leaves(inner, type[0], f"{path}[]")
    elif isinstance(type, dict):
        assert set(value) <= set(type), path
        for name, inner in value.items():
            yield from leaves(inner, type[name], f"{path}.{name}")
    else:
        yield path, value, type


class FormatTests(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2)
        builders.imported(
            self.project,
            {
                "id": "odd",
                "prompt": [
                    {"role": "system", "content": "Be\u2028brief."},
                    {"role": "user", "content": 'What is "\u202bهذا\u202c" \\ 100%?\r\n'},
                    {"role": "assistant", "content": "A word."},
                    {"role": "user", "content": "Which?"},
                ],
                "responses": ["It is \U0001f600 <b>", "No\x0bidea\x85."],
                "tags": ["odd", "language:ar", "domain:code"],
            },
        )
        for user in (self.bob, self.dana):
            for _ in range(3):
                builders.judgment(self.project, user)

    def test_a_pair_for_every_two_answers_that_are_not_tied(self) -> None:
        expected = [
            {
                "prompt": row["messages"],
                "chosen": [{"role": "assistant", "content": row["responses"][better]["text"]}],
                "rejected": [{"role": "assistant", "content": row["responses"][worse]["text"]}],
                "margin": degrees.margin(row["degree"]),
            }
            for row in self.raw()
            for better, worse in pairs_of(row)
        ]
        assert len(expected) == 26
        assert self.lines() == expected

    def test_a_ranking_s_pairs_have_a_margin_of_zero_however_votes_are_pooled(self) -> None:
        for votes in ("all", "majority", "unanimous", "bradley-terry"):
            margins = [line["margin"] for line in self.lines(votes=votes) if len(line["prompt"]) == 1]
            assert set(margins) == {0.0}, votes

    def test_raw_holds_what_was_said(self) -> None:
        rows = self.raw()
        assert len(rows) == Judgment.objects.count() == 6
        for row in rows:
            judgment = Judgment.objects.get(pk=row["judgment"])
            ids = [answer["id"] for answer in row["responses"]]
            assert row["ranks"] == [judgment.placements.get(response=id).rank for id in ids]
            assert [ids[place] for place in row["shown_order"]] == judgment.shown_order
            assert row["ranking"] == ranking.levels(row["ranks"])
            assert row["margin"] == degrees.margin(row["degree"])
            assert row["group"] == judgment.item.prompt_id
            assert row["annotator"] == judgment.annotator.pseudonym
            assert (row["account"], row["gold"], row["control"], row["verdict"]) == (
                "person",
                False,
                False,
                None,
            )
            assert row["agreement"] == 1

    def test_every_format_says_the_same_from_a_snapshot(self) -> None:
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice)
        votes = [
            {"format": format, "votes": vote, "origin": origin}
            for format, shape in FORMATS.items()
            for vote in ("all", "majority", "unanimous", "bradley-terry")
            for origin in ("false", "true")
            if vote == "all" or shape.rows not in ("raw", "duels", "prompts")
        ]
        for given in votes:
            selection = Selection.from_parameters(given)
            live = self.bytes_of(selection)
            assert live, given
            assert b"".join(stream.export_snapshot(snapshots.snapshot_path(frozen), selection)) == live, given
            names = set(json.loads(live.splitlines()[0]))
            extra = {"origin"} if selection.origin and selection.format != "raw" else set()
            assert names == set(FORMATS[selection.format].columns) | extra, given

    def test_the_type_of_a_number_does_not_depend_on_its_value(self) -> None:
        """JSON has integers where a column is of integers, and nowhere else, though 1.0 and 1 are the same number."""
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice)
        seen = set()
        for format, shape in FORMATS.items():
            for votes in ("all", "majority", "bradley-terry"):
                if votes != "all" and shape.rows in ("raw", "duels", "prompts"):
                    continue
                selection = Selection.from_parameters({"format": format, "votes": votes, "origin": "true"})
                types: dict[str, Type] = {name: column.type for name, column in shape.columns.items()}
                origin = ORIGIN | (ORIGIN_OF_PAIR if shape.rows == "pairs" else {})
                types["origin"] = {name: column.type for name, column in origin.items()}
                live = self.bytes_of(selection)
                kept = b"".join(stream.export_snapshot(snapshots.snapshot_path(frozen), selection))
                for line in (live + kept).splitlines():
                    row = json.loads(line)
                    for path, value, type in leaves(row, {name: types[name] for name in row}, format):
                        assert PYTHON_TYPES[type] is value.__class__, (path, value, votes)
                        seen.add((path, value == int(value) if isinstance(value, float) else None))
        whole = {path for path, is_whole in seen if is_whole}
        assert {"trl.margin", "ultrafeedback.score_chosen", "raw.probability", "raw.agreement"} <= whole

    def test_batches_join_without_a_gap_or_a_double_and_part_no_item(self) -> None:
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice)
        for given in (
            {"format": "raw", "account": "person"},
            {"votes": "unanimous"},
            {"format": "prompts"},
            {"format": "sft"},
        ):
            selection = Selection.from_parameters(given)
            whole = self.bytes_of(selection)
            with patch.object(stream, "BATCH_BYTES", 1), patch.object(stream, "FIRST_PROMPTS", 1):
                assert self.bytes_of(selection) == whole
                assert b"".join(stream.export_snapshot(snapshots.snapshot_path(frozen), selection)) == whole

    def test_tables_are_joined_in_the_order_in_which_they_stand_and_only_there(self) -> None:
        setting = "SELECT current_setting('join_collapse_limit')"
        with connection.cursor() as cursor:
            cursor.execute(setting)
            before = cursor.fetchone()
        with patch.object(stream, "lines_query", return_value=setting):
            assert self.bytes_of() == b"1"
        with connection.cursor() as cursor:
            cursor.execute(setting)
            assert cursor.fetchone() == before

    def test_a_parquet_file_holds_the_lines(self) -> None:
        for format in FORMATS:
            lines = self.lines(format=format, origin="true")
            table = pq.read_table(io.BytesIO(self.bytes_of(format=format, origin="true", file="parquet")))
            assert table.to_pylist() == lines, format

    def test_a_conversation_and_a_transcript(self) -> None:
        (line,) = self.lines(format="hh-rlhf", tag="odd")[:1]
        assert line["chosen"] == (
            'Be\u2028brief.\n\nHuman: What is "\u202bهذا\u202c" \\ 100%?\r\n\n\nAssistant: A word.'
            "\n\nHuman: Which?\n\nAssistant: It is \U0001f600 <b>"
        )
        implicit = self.lines(format="trl-implicit", tag="odd")[0]
        assert [message["role"] for message in implicit["chosen"]] == [
            *("system", "user", "assistant", "user", "assistant"),
        ]
        assert self.lines(format="trl-text")[0]["prompt"] == "Question 0?"

    def test_helpsteer_has_everybodys_preference(self) -> None:
        (line,) = self.lines(format="helpsteer3", tag="odd")
        assert (line["domain"], line["language"], line["overall_preference"]) == ("code", "ar", -2)
        assert [one["score"] for one in line["individual_preference"]] == [-2, -2]

    def test_kto_labels_what_stands_above_and_below_the_middle(self) -> None:
        lines = [line for line in self.lines(format="kto") if line["prompt"][0]["content"] == "Question 0?"]
        labels = {line["completion"][0]["content"]: line["label"] for line in lines}
        assert labels == {f"Answer {letter} to 0.": letter in "AB" for letter in "ABCD"}

    def test_openais_formats(self) -> None:
        dpo = self.lines(format="openai-dpo")[0]
        assert dpo["input"]["messages"] == [{"role": "user", "content": "Question 0?"}]
        assert dpo["preferred_output"] == [{"role": "assistant", "content": "Answer A to 0."}]
        summary = self.lines(format="summarize")[0]
        assert summary["summaries"][summary["choice"]]["text"] == "Answer A to 0."
        assert summary["worker"] == self.bob.pseudonym
        scored = self.lines(format="ultrafeedback")[0]
        assert (scored["score_chosen"], scored["score_rejected"]) == (3, 2)
