"""Judgments that a file brings: stored once, beside the queue, and in nobody's counts but their own."""

from __future__ import annotations

import json
import random
import tempfile
import zipfile
from io import BytesIO
from typing import Any
from unittest.mock import patch

import pytest
from datasets import get_dataset_config_names, load_dataset
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from annotation import analytics
from annotation.actions import (
    export_files,
    import_rows,
    imports,
    items,
    leases,
    snapshots,
    uploads,
    worker_jobs,
)
from annotation.analytics.filters import NO_FILTERS
from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.models import Import, ImportedJudgment, Item, Judgment, Project, Slot
from annotation.store import store
from tests import builders
from tests.annotation.exports.base import ExportTestCase

PAIRS = [
    {"prompt": f"Why {n}?", "chosen": f"Because of {n}.", "rejected": f"No idea of {n}.", "margin": 0.5}
    for n in range(3)
]


class ImportedCase(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        # it has a connection of its own, which does not see the rows of a test's transaction
        self.enterContext(patch.object(worker_jobs.Heartbeat, "_beat"))

    def upload(self, rows: list[dict[str, Any]], **choices: Any) -> Import:
        content = "\n".join(map(json.dumps, rows)).encode()
        upload = uploads.save_upload(
            project=self.project, name="pairs.jsonl", file=BytesIO(content), creator=self.alice
        )
        imports.start(upload, **{"judgments": "import", "judged_by": "person"} | choices)
        claimed = imports.claim(upload.pk)
        assert claimed is not None
        imports.run_import(claimed)
        claimed.refresh_from_db()
        return claimed


class StoringTests(ImportedCase):
    def test_they_stand_beside_the_queue_with_their_source(self) -> None:
        done = self.upload(PAIRS)
        assert (done.state, done.report["judgments"], done.report["items"]) == ("done", 3, 3)
        first = ImportedJudgment.objects.earliest("pk")
        assert (first.source, first.account, first.ranks, first.details) == (
            done,
            "person",
            [1, 2],
            {"margin": 0.5},
        )
        assert sorted(first.responses) == sorted(first.item.responses.values_list("pk", flat=True))
        assert not Judgment.objects.exists()
        assert not Slot.objects.exists()
        assert leases.claim(project=self.project, annotator=self.bob) is None

    def test_an_item_is_put_into_the_queue_by_its_lead(self) -> None:
        self.upload(PAIRS[:1])
        item = Item.objects.get()
        assert (item.state, "beside the queue" in item.retired_reason) == ("retired", True)
        items.reopen(item=item, actor=self.alice)
        builders.judgment(self.project, self.bob)
        assert (item.judgments.count(), item.imported_judgments.count()) == (1, 1)

    def test_items_go_into_the_queue_at_once_if_asked(self) -> None:
        self.upload(PAIRS, judgments="queue")
        assert leases.claim(project=self.project, annotator=self.bob) is not None
        assert ImportedJudgment.objects.count() == 3

    def test_the_same_file_again_brings_nothing_new(self) -> None:
        self.upload(PAIRS)
        again = self.upload(PAIRS)
        assert (again.report["judgments"], again.report["items"], again.report["unchanged"]) == (0, 0, 3)
        other = self.upload([PAIRS[0] | {"chosen": PAIRS[0]["rejected"], "rejected": PAIRS[0]["chosen"]}])
        assert (other.report["judgments"], other.report["items"]) == (1, 0)
        assert ImportedJudgment.objects.count() == 4

    def test_who_is_said_to_have_judged_makes_no_other_judgment(self) -> None:
        self.upload(PAIRS)
        again = self.upload([pair | {"margin": 0.9} for pair in PAIRS], judged_by="machine")
        assert again.report["judgments"] == 0

    def test_a_project_s_own_export_brings_nothing_new(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        self.upload(PAIRS)
        done = self.upload(self.raw(), judged_by="")
        assert (done.report["judgments"], done.report["items"]) == (0, 0)
        assert done.report["left_out"] == {"judgments of this project, which it has already": 4}
        assert len(self.raw()) == 4

    def test_several_who_are_not_named_may_say_the_same(self) -> None:
        row = {"context": [{"role": "user", "content": "Why?"}], "response1": "a", "response2": "b"}
        said = [{"score": -2}, {"score": -2}, {"score": 1}]
        for expected in (3, 0):
            done = self.upload([row | {"overall_preference": -1, "individual_preference": said}])
            assert (done.report["judgments"], done.report["left_out"]) == (expected, {})

    def test_what_a_file_has_twice_is_said(self) -> None:
        done = self.upload([PAIRS[0], PAIRS[0]])
        assert done.report["judgments"] == 1
        assert done.report["left_out"] == {"judgments that the file has twice": 1}

    def test_answers_that_are_nearly_the_same_make_no_item_and_no_judgment(self) -> None:
        text = "The quick brown fox jumps over the lazy dog by the river"
        done = self.upload([{"prompt": "Why?", "chosen": text + ".", "rejected": text + "!"}])
        assert done.report["left_out"] == {"judgments of answers that are nearly the same": 1}
        assert not ImportedJudgment.objects.exists()

    def test_the_database_refuses_to_change_them(self) -> None:
        self.upload(PAIRS)
        for change in (
            lambda: ImportedJudgment.objects.update(ranks=[2, 1]),
            lambda: ImportedJudgment.objects.all().delete(),
        ):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                change()

    def test_two_prompts_with_the_same_id_are_told_apart(self) -> None:
        rows = [
            {
                "judgment": n,
                "prompt_id": "same",
                "messages": [{"role": "user", "content": f"Why {n}?"}],
                "responses": [{"text": "a", "author": "x"}, {"text": "b", "author": "y"}],
                "ranks": [1, 2],
                "account": "person",
            }
            for n in range(2)
        ]
        done = self.upload(rows, set_aside_share=1.0)
        assert done.report["errors"] == [[2, "id: 'same' is the id of another prompt in the file"]]
        assert (done.report["kept"], ImportedJudgment.objects.count()) == (1, 1)

    def test_a_mapping_keeps_the_order_of_the_file(self) -> None:
        content = b"question,llama,gpt4,better\nWhy?,from llama,from gpt,A\n"
        roles = {"better": "preference", "gpt4": "answer", "llama": "answer", "question": "prompt"}
        upload = uploads.save_upload(
            project=self.project, name="a.csv", file=BytesIO(content), creator=self.alice, mapping=roles
        )
        imports.start(upload, judgments="import", judged_by="person")
        claimed = imports.claim(upload.pk)
        assert claimed is not None
        imports.run_import(claimed)
        judgment = ImportedJudgment.objects.get()
        best = judgment.responses[judgment.ranks.index(1)]
        assert judgment.item.responses.get(pk=best).text == "from llama"

    def test_a_refused_import_leaves_none(self) -> None:
        done = self.upload([*PAIRS, {"prompt": 1, "chosen": "a", "rejected": "b"}])
        assert done.state == "refused"
        assert not ImportedJudgment.objects.exists()

    def test_unknown_judges_are_asked_for(self) -> None:
        done = self.upload(PAIRS, judged_by="")
        assert done.state == "refused"
        assert "say so (judged_by)" in done.report["reason"]

    def test_a_file_without_preferences_has_none_to_import(self) -> None:
        with pytest.raises(uploads.UploadError, match="have no preferences"):
            self.upload([{"prompt": "Why?", "response_1": "a", "response_2": "b"}])

    def test_a_call_may_bring_them_in_our_own_format(self) -> None:
        row = {
            "prompt": "Why?",
            "responses": ["a", "b"],
            "judgments": [{"ranks": [2, 1], "account": "machine", "annotator": "judge-7b"}],
        }
        report = import_rows.import_lines(project=self.project, lines=builders.lines(row), actor=self.alice)
        assert (report.judgments, report.items, report.errors) == (1, 1, [])
        only = ImportedJudgment.objects.get()
        assert (only.source, only.annotator, only.account) == (None, "judge-7b", "machine")
        assert leases.claim(project=self.project, annotator=self.bob) is not None


class CountingTests(ImportedCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 3)
        for _ in range(2):
            builders.judgment(self.project, self.bob)
        self.before = self.counts()
        self.upload(PAIRS, judged_by="machine")

    def counts(self) -> Any:
        return (
            analytics.queue_status(self.project),
            [
                (member.user_id, vars(activity))
                for member, activity in analytics.member_activity(self.project)
            ],
            analytics.new_judgment_count(self.project, None),
            analytics.degrees(self.project, NO_FILTERS),
        )

    def test_nothing_about_the_project_s_annotators_changes(self) -> None:
        assert self.counts() == self.before
        assert analytics.imported_count(self.project) == 3

    def test_exports_have_them_on_request_and_raw_always(self) -> None:
        everything = self.raw()
        assert [row["imported"] for row in everything] == [False] * 2 + [True] * 3
        imported = everything[-1]
        assert (imported["source"], imported["account"], imported["seconds"]) == (
            "pairs.jsonl",
            "machine",
            None,
        )
        assert json.loads(imported["details"]) == {"margin": 0.5}
        own = len(self.lines())
        assert (len(self.lines(imported="include")), len(self.lines(imported="only"))) == (own + 3, 3)
        assert len(self.raw(imported="exclude")) == 2
        assert len(self.raw(account="machine")) == 3
        origins = [row["origin"] for row in self.lines(imported="include", origin="true")]
        assert sum(origin["imported"] for origin in origins) == 3

    def test_votes_pool_them_only_on_request(self) -> None:
        item = Item.objects.filter(imported_judgments__isnull=False).earliest("pk")
        items.reopen(item=item, actor=self.alice)
        lease = leases.claim(project=self.project, annotator=self.bob)
        while lease is not None and lease.item_id != item.pk:
            builders.submit(lease)
            lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        loser = max(ImportedJudgment.objects.filter(item=item).values_list("responses", flat=True)[0])
        builders.submit(lease, [1 if response == loser else 2 for response in lease.shown_order])
        own = self.lines(votes="majority")
        pooled = self.lines(votes="majority", imported="include")
        texts = [row["prompt"][0]["content"] for row in own]
        assert texts.count("Why 0?") == 1
        assert [row["prompt"][0]["content"] for row in pooled].count("Why 0?") == 0  # one vote each

    def test_a_snapshot_has_them_by_choice_and_counts_them_apart(self) -> None:
        without = snapshots.create_snapshot(project=self.project, creator=self.alice)
        with_them = snapshots.create_snapshot(project=self.project, creator=self.alice, imported=True)
        assert "imported" not in without.counts
        counts = with_them.counts
        assert counts["judgments"] == without.counts["judgments"] == 2
        assert counts["annotators"] == without.counts["annotators"]
        assert (counts["imported"], counts["imported_pairs"]) == (3, 3)
        assert counts["imported_pairs_train"] + counts.get("imported_pairs_held_out", 0) == 3
        assert with_them.manifest["census"]["imported"] == [
            {"source": "pairs.jsonl", "account": "machine", "judgments": 3}
        ]
        rows = list(snapshots.read_judgments(with_them))
        assert sum(row["imported"] for row in rows) == 3
        assert with_them.last_judgment == max(row["judgment"] for row in rows)
        assert len(list(snapshots.read_rankings(with_them))) == 2
        assert len(list(snapshots.read_rankings(with_them, with_imported=True))) == 5

    def test_what_a_snapshot_does_not_have_is_counted_without_ids(self) -> None:
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice, imported=True)
        ids = Judgment.objects.aggregate(last=Max("pk"))["last"]
        self.upload([{"prompt": "Late?", "chosen": "a", "rejected": "b"}])
        # as if its import had begun before the snapshot
        with patch.object(frozen, "last_judgment", ids + 10**6):
            assert analytics.imported_count(self.project, frozen) == 1

    def test_the_hub_folder_has_them_in_configurations_of_their_own(self) -> None:
        def configurations(project: Project) -> dict[str, int]:
            frozen = snapshots.create_snapshot(project=project, creator=self.alice, imported=True)
            folder = tempfile.mkdtemp(dir=settings.ARTIFACTS)
            with zipfile.ZipFile(store().path(export_files.hub_zip(frozen))) as archive:
                archive.extractall(folder)
            place = f"{folder}/{export_files.hub_name(frozen)}"
            rows = load_dataset(place, cache_dir=f"{folder}/cache")  # the default one
            names = get_dataset_config_names(place)
            return dict.fromkeys(names, 0) | {"default": sum(map(len, rows.values()))}

        mixed = configurations(self.project)
        assert {"trl", "trl-imported", "raw"} <= set(mixed)
        assert "raw-imported" not in mixed
        assert mixed["default"] == len(self.lines())
        self.project = builders.project(self.alice, "Imported only")
        self.upload(PAIRS)
        only = configurations(self.project)
        assert ("trl" in only, only["default"]) == (False, 3)

    def test_the_snapshot_s_exports_are_those_of_the_project(self) -> None:
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice, imported=True)

        for given in (
            {},
            {"imported": "include"},
            {"imported": "only"},
            {"format": "raw"},
            {"format": "kto", "imported": "include", "origin": "true"},
        ):
            selection = Selection.from_parameters(given)
            path = snapshots.snapshot_path(frozen)
            assert b"".join(stream.export_snapshot(path, selection)) == self.bytes_of(selection), given


class RoundTripTests(ImportedCase):
    def test_a_thousand_mixed_judgments_come_back(self) -> None:
        """The export `raw` of one project is an import of another one, whose export is the same but for its ids."""
        rng = random.Random(5)
        rows = []
        for n in range(250):
            k = rng.randint(2, 5)
            rows.append(
                {
                    "id": f"row-{n}",
                    "prompt": [
                        {"role": "system", "content": "Be brief."},
                        {"role": "user", "content": f"Why {n}? \u2028"},
                    ],
                    "responses": [
                        {
                            "text": f"Answer {c} {rng.random()}",
                            "author": rng.choice("xyz"),
                            "metadata": {"c": c},
                        }
                        for c in range(k)
                    ],
                    "tags": rng.sample(["a", "b:c"], rng.randint(0, 2)),
                    "metadata": {"n": n},
                    "judgments": [self.random_judgment(rng, k) for _ in range(4)],
                }
            )
        builders.imported(self.project, *rows)
        assert ImportedJudgment.objects.count() == 1000
        first = self.raw()
        other = builders.project(self.alice, "Other")
        self.project = other
        done = self.upload(first, judged_by="")
        assert (done.state, done.report["judgments"], done.report["left_out"]) == ("done", 1000, {})
        second = self.raw()
        assert list(map(comparable, second)) == list(map(comparable, first))

    def test_written_answers_come_back(self) -> None:
        self.project = builders.project(self.alice, "Write", task="demonstrations")
        for n in range(3):
            details = {"demonstration": f"Because of {n}.", "seconds": 9.5}
            builders.imported(
                self.project,
                {
                    "prompt": f"Why {n}?",
                    "responses": [],
                    "judgments": [{"ranks": [], "annotator": "ann", "account": "person", "details": details}],
                },
            )
        first = self.raw()
        assert [row["demonstration"] for row in first] == [f"Because of {n}." for n in range(3)]
        self.project = builders.project(self.alice, "Again", task="demonstrations")
        done = self.upload(first, judged_by="")
        assert (done.state, done.report["judgments"], done.report["left_out"]) == ("done", 3, {})
        assert list(map(comparable, self.raw())) == list(map(comparable, first))
        sft = [row["completion"][-1]["content"] for row in self.lines(format="sft", imported="include")]
        assert sorted(sft) == [f"Because of {n}." for n in range(3)]
        self.project = builders.project(self.alice, "Compare")
        done = self.upload(first, judged_by="")
        assert (done.report["judgments"], done.report["prompts"]) == (0, 3)
        assert done.report["left_out"] == {"written answers, for which the project does not ask": 3}

    def test_a_judgment_of_nothing_is_none(self) -> None:
        self.project = builders.project(self.alice, "Write", task="demonstrations")
        row = {"prompt": "Why?", "responses": [], "judgments": [{"ranks": []}]}
        done = self.upload([row], judged_by="")
        assert done.report["judgments"] == 0
        assert not ImportedJudgment.objects.exists()

    @staticmethod
    def random_judgment(rng: random.Random, k: int) -> dict[str, Any]:
        def maybe(value: Any) -> Any:
            return value if rng.random() < 0.5 else None

        return {
            "ranks": [rng.randint(1, k) for _ in range(k)],
            "annotator": f"ann-{rng.random()}",
            "account": rng.choice(["person", "machine"]),
            "degree": maybe("slightly") if k == 2 else None,
            "quality": maybe([rng.randint(1, 7) for _ in range(k)]),
            "safe": maybe([rng.random() < 0.5 for _ in range(k)]),
            "flags": maybe([["opinion"] if rng.random() < 0.5 else [] for _ in range(k)]),
            "rationale": maybe("Because.\n\u2028"),
            "shown_order": maybe(rng.sample(range(k), k)),
            "judged_at": maybe("2026-01-31T12:00:00+00:00"),
            "details": {"seconds": round(rng.uniform(1, 90), 1)},
        }


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """A raw row without what differs between two projects, and without when and where it was imported."""
    responses = [{key: r[key] for key in r if key != "id"} for r in row["responses"]]
    ids = ("judgment", "group", "item", "project", "source", "created_at", "details")
    return {key: row[key] for key in row if key not in ids} | {"responses": responses}
