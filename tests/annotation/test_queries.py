from __future__ import annotations

import tracemalloc
import uuid
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from annotation import queries
from annotation.actions import queue
from annotation.logic import ranking
from annotation.logic.formats import export
from annotation.models import Judgment, Placement, Prompt, Slot
from tests import builders
from tests.annotation.bulk import fill
from tests.annotation.test_queue import run_out
from tests.base import PalateTestCase

RANKINGS = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=9), min_size=1, max_size=4)


def revise(judgment: Judgment, ranks: list[int]) -> Judgment:
    """A later revision: the same item, another order."""
    newer = Judgment.objects.create(
        item=judgment.item,
        slot=judgment.slot,
        annotator=judgment.annotator,
        shown_order=judgment.shown_order,
        seconds=1,
        supersedes=judgment,
        idempotency_key=uuid.uuid4(),
    )
    for response, rank in zip(sorted(judgment.shown_order), ranks, strict=True):
        Placement.objects.create(judgment=newer, response_id=response, rank=rank)
    return newer


class PairsTests(PalateTestCase):
    def test_a_tie_is_no_pair(self) -> None:
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob, [2, 1, 2, 3])
        a, b, c, d = sorted(judgment.shown_order)
        assert sorted(queries.pairs(self.project)) == sorted(
            (judgment.pk, better, worse) for better, worse in [(b, a), (b, c), (b, d), (a, d), (c, d)]
        )
        assert queries.count_pairs(self.project) == 5

    def test_what_does_not_count_and_what_was_revised_is_left_out(self) -> None:
        builders.items(self.project, 1)
        late = queue.claim(project=self.project, annotator=self.bob)
        run_out(late)
        counted = builders.judgment(self.project, self.dana, [1, 1, 1, 2])
        builders.submit(late)
        newer = revise(counted, [2, 1, 1, 1])
        assert {judgment for judgment, _, _ in queries.pairs(self.project)} == {newer.pk}
        assert queries.count_pairs(self.project) == 3


class PairsBySQLTests(HypothesisTestCase):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(RANKINGS)
    def test_they_are_those_of_the_logic(self, rankings: list[list[int]]) -> None:
        alice = builders.user("alice")
        project = builders.project(alice)
        expected = set()
        for number, ranks in enumerate(rankings):
            judgment = self.judgment(project, alice, number, ranks)
            ids = sorted(judgment.shown_order)
            expected |= {(judgment.pk, ids[i], ids[j]) for i, j in ranking.pairs(ranks)}
        found = queries.pairs(project)
        assert set(found) == expected
        assert len(found) == len(expected) == queries.count_pairs(project)

    def judgment(self, project, user, number, ranks):
        texts = [f"{number} {letter}" for letter in "ABCDEFGHI"[: len(ranks)]]
        builders.imported(project, {"id": f"p{number}", "prompt": f"{number}?", "responses": texts})
        lease = queue.claim(project=project, annotator=user)
        k = len(ranks)
        if k == 2 and ranks[0] == ranks[1]:
            # of two answers one must be chosen: there are no tied pairs to be had
            ranks[1] += 1
        return builders.submit(
            lease, [ranking.dense(ranks)[sorted(lease.shown_order).index(id)] for id in lease.shown_order]
        )


class RowsTests(PalateTestCase):
    def test_a_row_has_all_that_is_known(self) -> None:
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob, [2, 1, 2, 3])
        (row,) = queries.judgment_rows(self.project)
        ids = sorted(judgment.shown_order)
        assert [answer["id"] for answer in row["responses"]] == ids
        assert row["responses"][0] == {"id": ids[0], "author": "imported", "text": "Answer A to 0."}
        assert row["ranks"] == [2, 1, 2, 3]
        assert [ids[place] for place in row["shown_order"]] == judgment.shown_order
        prompt = Prompt.objects.get()
        assert row["split"] == prompt.split
        assert (
            row
            | {
                "judgment": judgment.pk,
                "project": "helpfulness",
                "item": judgment.item_id,
                "prompt_id": "p0",
                "messages": [{"role": "user", "content": "Question 0?"}],
                "tags": [],
                "probability": 1.0,
                "degree": None,
                "annotator": self.bob.pseudonym,
                "guideline": 1,
                "rationale": "",
                "counted": True,
            }
            == row
        )
        assert row["created_at"].endswith("Z")

    def test_only_the_latest_revision_is_there(self) -> None:
        builders.items(self.project, 1)
        newer = revise(builders.judgment(self.project, self.bob), [4, 3, 2, 1])
        (row,) = queries.judgment_rows(self.project)
        assert (row["judgment"], row["ranks"]) == (newer.pk, [4, 3, 2, 1])

    def test_a_late_judgment_says_that_it_does_not_count(self) -> None:
        builders.items(self.project, 1)
        late = queue.claim(project=self.project, annotator=self.bob)
        run_out(late)
        builders.judgment(self.project, self.dana)
        builders.submit(late)
        assert [row["counted"] for row in queries.judgment_rows(self.project)] == [True, False]

    def test_projects_do_not_mix(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.items(other, 1)
        builders.judgment(other, self.alice)
        assert list(queries.judgment_rows(self.project)) == []

    def test_batches_join_without_a_gap_or_a_double(self) -> None:
        fill(self.project, self.bob, 700)
        ids = [row["judgment"] for row in queries.judgment_rows(self.project)]
        assert ids == sorted(set(ids))
        assert len(ids) == 700

    def test_what_comes_in_meanwhile_is_left_for_the_next_time(self) -> None:
        fill(self.project, self.bob, 200)
        rows = queries.judgment_rows(self.project)
        first = next(rows)
        fill(self.project, self.dana, 5)
        revise(Judgment.objects.order_by("-id").filter(annotator=self.bob)[0], [4, 3, 2, 1])
        assert 1 + len(list(rows)) == 200
        assert first["judgment"] == Judgment.objects.order_by("id")[0].pk

    def test_memory_stays_flat_however_many_there_are(self) -> None:
        fill(self.project, self.bob, 5_000)
        peak = {}
        for count in (1_500, 5_000):
            tracemalloc.start()
            lines = export(queries.judgment_rows(self.project), "trl")
            read = sum(1 for _, _ in zip(range(6 * count), lines, strict=False))
            peak[count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert read == 6 * count
        assert peak[5_000] < 1.3 * peak[1_500]
        assert peak[5_000] < 20 * 2**20


class ProgressTests(PalateTestCase):
    def test_it_counts_wanted_judgments(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2)
        empty = queries.progress(self.project)
        assert (empty.wanted, empty.done, empty.left, empty.percent, empty.eta) == (4, 0, 4, 0, None)
        builders.judgment(self.project, self.bob)
        lease = queue.claim(project=self.project, annotator=self.bob)
        now = queries.progress(self.project)
        assert (now.wanted, now.done, now.left, now.leased, now.last_hour, now.percent) == (4, 1, 3, 1, 1, 25)
        assert now.eta == timedelta(hours=3)
        run_out(lease)
        assert queries.progress(self.project).leased == 0

    def test_what_is_left_for_someone_is_what_they_can_still_get(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3)
        assert queries.left_for(self.project, self.bob) == 3
        builders.judgment(self.project, self.bob)
        queue.skip(lease=queue.claim(project=self.project, annotator=self.bob), reason="broken")
        assert queries.left_for(self.project, self.bob) == 1
        assert queries.left_for(self.project, self.dana) == 3
        Slot.objects.filter(state="open").update(priority=1)
        while queue.claim(project=self.project, annotator=self.bob) is not None:
            builders.judgment(self.project, self.bob)
        assert queries.left_for(self.project, self.bob) == 0
