from __future__ import annotations

import hashlib
import json
import tempfile
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.test import override_settings

from annotation.actions import opinions
from annotation.actions.opinions import JudgedGroup, OpinionError
from annotation.models import AuditEntry, Item, Opinion, OpinionSet, Response
from tests import builders
from tests.base import PalateTestCase


def judged(item: Item, *ps: float, **fields: Any) -> JudgedGroup:
    """Opinions on the first response and each of the next ones."""
    ids = list(Response.objects.filter(prompt=item.prompt).order_by("id").values_list("id", flat=True))
    pairs = [{"first": 0, "second": place, "p": p} for place, p in enumerate(ps, 1)]
    return JudgedGroup(item.prompt_id, ids, pairs, **fields)


class OpinionCase(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.artifacts = Path(folder.name)
        settings = override_settings(ARTIFACTS=self.artifacts)
        settings.enable()
        self.addCleanup(settings.disable)

    def files(self) -> list[Path]:
        return [path for path in self.artifacts.rglob("*") if path.is_file()]

    def store(self, rows: Iterable[JudgedGroup], **changed: Any) -> OpinionSet:
        values = {"judge": "tiny-judge", "mode": "choice", "constitution": None, "author": None} | changed
        return opinions.store_opinions(
            project=self.project,
            rows=rows,
            tokens_in=10,
            tokens_out=2,
            cost=0.5,
            creator=self.alice,
            **values,
        )


class StoreOpinionsTests(OpinionCase):
    def test_it_stores_rows_and_a_file_with_its_sha256(self) -> None:
        builders.items(self.project, 2, k=3)
        first, second = Item.objects.order_by("id")
        opinion = {"first": 2, "second": 0, "p_ab": 0.9, "p_ba": 0.7, "p": 0.8, "principle": "kind"}
        opinion |= {"rationale": "warm\0 \ud800", "tokens_in": 120, "tokens_out": 2}
        rows = [
            JudgedGroup(
                first.prompt_id,
                judged(first).response_ids,
                [opinion],
                scores=[0.5, -1.0, 1.5],
                no_opinion=[(0, 1)],
            ),
            judged(second, 0.5, 0.1),
        ]
        opinion_set = self.store(iter(rows))
        assert (opinion_set.number, opinion_set.path) == (
            1,
            f"store:opinions/helpfulness/{opinion_set.sha256}",
        )
        assert opinion_set.counts == {"prompts": 2, "comparisons": 4, "opinions": 3, "no_opinion": 1}
        assert opinion_set.pk == OpinionSet.objects.get().pk
        data = opinions.opinion_set_path(opinion_set).read_bytes()
        assert opinion_set.sha256 == hashlib.sha256(data).hexdigest()

        stored = Opinion.objects.order_by("id")[0]
        ids = judged(first).response_ids
        assert (stored.first_id, stored.second_id, stored.p, stored.p_ab, stored.p_ba) == (
            *(ids[2], ids[0], 0.8, 0.9, 0.7),
        )
        assert (stored.score_first, stored.score_second, stored.principle) == (1.5, 0.5, "kind")
        assert (stored.rationale, stored.tokens_in, stored.tokens_out) == ("warm ?", 120, 2)

        groups = list(opinions.read_opinion_groups(opinion_set))
        assert [group["prompt_id"] for group in groups] == [first.prompt_id, second.prompt_id]
        assert groups[0] == json.loads(data.splitlines()[0])
        assert groups[0]["messages"] == first.prompt.messages
        assert [response["id"] for response in groups[0]["responses"]] == ids
        assert groups[0]["responses"][0]["model"] == Response.objects.get(pk=ids[0]).author.name
        assert groups[0]["scores"] == [0.5, -1.0, 1.5]
        assert groups[0]["no_opinion"] == [[0, 1]]
        assert groups[0]["opinions"][0]["id"] == stored.pk
        assert [entry["p"] for entry in groups[1]["opinions"]] == [0.5, 0.1]
        entry = AuditEntry.objects.get(verb="opinions.stored")
        assert entry.data == {"judge": "tiny-judge", "sha256": opinion_set.sha256}

    def test_numbers_are_consecutive_in_a_project(self) -> None:
        builders.items(self.project, 1, k=2)
        item = Item.objects.get()
        assert [self.store([judged(item, 0.6)]).number for _ in range(3)] == [1, 2, 3]
        assert len(self.files()) == 3

    def test_what_is_wrong_is_refused_and_leaves_nothing(self) -> None:
        builders.items(self.project, 1, k=2)
        item = Item.objects.get()
        ids = judged(item).response_ids
        other = builders.project(self.charlie, "Other")
        builders.items(other, 1, k=2)
        stranger = Item.objects.get(project=other)
        good = {"first": 0, "second": 1, "p": 0.6}
        refused = {
            "has no opinion": [],
            "has no prompt": [judged(stranger, 0.6)],
            "has no response": [
                JudgedGroup(item.prompt_id, [ids[0], judged(stranger).response_ids[0]], [good])
            ],
            "is not a probability": [judged(item, 1.2)],
            "for two of its responses": [JudgedGroup(item.prompt_id, ids, [good | {"second": 2}])],
            "two opinions": [judged(item, 0.6), judged(item, 0.7)],
            "one score": [judged(item, 0.6, scores=[1.0])],
        }
        for words, rows in refused.items():
            with self.subTest(words), self.assertRaisesMessage(OpinionError, words):
                self.store([judged(item, 0.6), *rows] if words == "is not a probability" else rows)
        assert not OpinionSet.objects.exists()
        assert not Opinion.objects.exists()
        assert self.files() == []

    def test_a_file_that_cannot_be_written_leaves_nothing(self) -> None:
        builders.items(self.project, 1, k=2)
        (self.artifacts / "store").write_text("in the way")
        with self.assertRaisesMessage(OpinionError, "could not be written"):
            self.store([judged(Item.objects.get(), 0.6)])
        assert not Opinion.objects.exists()

    def test_memory_is_flat(self) -> None:
        builders.items(self.project, 1, k=2)
        item = Item.objects.get()
        ids = judged(item).response_ids

        def rows(count: int) -> Iterator[JudgedGroup]:
            for number in range(count):
                opinion = {
                    "first": 0,
                    "second": 1,
                    "p": 0.6,
                    "principle": f"p{number}",
                    "rationale": "r" * 1000,
                }
                yield JudgedGroup(item.prompt_id, ids, [opinion])

        peaks = []
        for count in (400, 4000):
            tracemalloc.start()
            try:
                self.store(rows(count))
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
        # ten times the groups are 3.6 MB more of rationales alone
        assert peaks[1] < peaks[0] + 1_000_000, peaks
