"""Raw votes beside what they come to: majority, Bradley-Terry, unanimous; gold, machines, late and revised judgments."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

from annotation.actions import judgments, leases
from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.models import Item, Slot, User, Verdict
from tests import builders
from tests.annotation.bulk import fill
from tests.annotation.exports.base import ExportTestCase, revise
from tests.annotation.queue_case import expire


class VotesTestCase(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.project.overlap = 5
        self.project.save()
        builders.items(self.project, 1, k=3)
        self.people = [self.bob, self.dana, *(builders.user(name) for name in ("eve", "fred", "gina"))]
        for person in self.people[2:]:
            builders.join(self.project, person, "annotator")

    def submit_rankings(self, *rankings: Sequence[int]) -> None:
        for person, ranks in zip(self.people, rankings, strict=False):
            builders.judgment(self.project, person, ranks)

    def pairs(self, **given: str) -> list[str]:
        return [
            f"{line['chosen'][0]['content'][7]}>{line['rejected'][0]['content'][7]}"
            for line in self.lines(**given)
        ]


class ConsensusTests(VotesTestCase):
    def test_the_majority_decides_pair_by_pair(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 3, 2], [2, 1, 1])
        assert len(self.pairs()) == 3 + 3 + 2
        # A>B by two to one, A>C by two to one; B and C are level
        assert self.pairs(votes="majority") == ["A>B", "A>C"]
        origin = self.lines(votes="majority", origin="true")[0]["origin"]
        assert (origin["votes"], origin["agreement"], origin["judgment"]) == (3, 0.6667, None)

    def test_a_circle_stays_a_circle(self) -> None:
        self.submit_rankings([1, 2, 3], [3, 1, 2], [2, 3, 1])
        assert self.pairs(votes="majority") == ["A>B", "B>C", "C>A"]
        assert self.lines(votes="majority", format="rankings")[0]["ranks"] == [1, 1, 1]

    def test_unanimous_is_what_nobody_denies_nor_ties(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 3, 2], [1, 2, 2])
        assert self.pairs(votes="unanimous") == ["A>B", "A>C"]
        assert self.pairs(votes="unanimous", annotator=self.bob.pseudonym) == ["A>B", "A>C", "B>C"]

    def test_what_is_unanimous_of_an_order_is_told_in_every_format(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 3, 2], [1, 2, 2])  # A before both, and of B and C nothing
        assert self.lines(votes="unanimous", format="rankings") == [], "on no whole order"
        (best,) = self.lines(votes="unanimous", format="sft")
        assert best["completion"][0]["content"] == "Answer A to 0."
        labels = [
            (line["completion"][0]["content"][7], line["label"])
            for line in self.lines(votes="unanimous", format="kto")
        ]
        assert labels == [("A", True), ("B", False), ("C", False)]
        for pair in self.lines(votes="unanimous", format="ultrafeedback"):
            assert pair["score_chosen"] > pair["score_rejected"]
        (whole,) = self.lines(votes="unanimous", format="rankings", annotator=self.bob.pseudonym)
        assert whole["ranks"] == [1, 2, 3]

    def test_nobody_is_put_first_by_all_who_is_not_put_first_by_each(self) -> None:
        self.submit_rankings([1, 2, 3], [2, 3, 1])  # all put A before B; C is first once
        assert self.pairs(votes="unanimous") == ["A>B"]
        assert self.lines(votes="unanimous", format="sft") == []

    def test_bradley_terry_makes_one_order(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 2, 3], [3, 2, 1])
        assert self.pairs(votes="bradley-terry") == ["A>B", "A>C", "B>C"]
        scored = self.lines(votes="bradley-terry", format="ultrafeedback")
        assert scored[1]["score_chosen"] > 0 > scored[1]["score_rejected"]
        (ranking,) = self.lines(votes="bradley-terry", format="rankings")
        assert ranking["ranks"] == [1, 2, 3]

    def test_a_margin_is_the_mean_of_all(self) -> None:
        two = builders.project(self.alice, "Two", k=2, overlap=3)
        builders.imported(two, {"id": "two", "prompt": "Two?", "responses": ["Answer A", "Answer B"]})
        for person, ranks, degree in zip(
            self.people, ([1, 2], [1, 2], [2, 1]), ("significantly", "better", "slightly"), strict=False
        ):
            builders.join(two, person, "annotator")
            builders.judgment(two, person, ranks, degree)
        self.project = two
        (line,) = self.lines(votes="majority")
        assert round(line["margin"], 4) == round((1 + 2 / 3 - 1 / 3) / 3, 4)
        (preference,) = self.lines(format="helpsteer3")
        assert [one["score"] for one in preference["individual_preference"]] == [-3, -2, 1]
        assert preference["overall_preference"] == -1

    def test_a_reviewers_verdict_stands_above_the_votes(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 2, 3])
        item = Item.objects.get()
        a, b, c = sorted(item.responses.values_list("pk", flat=True))
        Verdict.objects.create(item=item, reviewer=self.dana, ranks={str(a): 3, str(b): 2, str(c): 1})
        assert self.pairs(votes="majority") == ["B>A", "C>A", "C>B"]
        assert self.pairs(votes="bradley-terry") == ["B>A", "C>A", "C>B"]
        assert self.pairs(votes="unanimous") == ["A>B", "A>C", "B>C"]
        assert self.raw()[0]["verdict"] == {"ranks": [3, 2, 1], "degree": None, "note": ""}

    def test_agreement_is_of_every_two_people_and_answers(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 2, 3], [1, 3, 2])
        # of three pairs of people: one agrees on all three pairs, two on two of three
        assert {row["agreement"] for row in self.raw()} == {0.7778}
        assert self.pairs(agreement="0.8") == []
        assert len(self.pairs(agreement="0.77")) == 9


class WhatCountsTests(VotesTestCase):
    def give_a_known_answer(self) -> None:
        ids = sorted(Item.objects.get().responses.values_list("pk", flat=True))
        Item.objects.update(gold={str(id): rank for rank, id in enumerate(ids, start=1)})

    def test_gold_is_marked_in_raw_and_left_out_of_training(self) -> None:
        self.submit_rankings([1, 2, 3])
        self.give_a_known_answer()
        Slot.objects.filter(state="done").update(gold=True)
        assert self.pairs() == []
        assert [row["gold"] for row in self.raw()] == [True]
        assert len(self.pairs(gold="only")) == len(self.pairs(gold="include")) == 3

    def test_what_was_said_before_an_answer_was_known_still_trains(self) -> None:
        self.submit_rankings([1, 2, 3])
        self.give_a_known_answer()
        assert len(self.pairs()) == 3
        assert [row["gold"] for row in self.raw()] == [False]

    def test_machines_are_told_from_people(self) -> None:
        User.objects.filter(pk=self.dana.pk).update(account="machine")
        self.submit_rankings([1, 2, 3], [1, 2, 3])
        assert [row["account"] for row in self.raw()] == ["person", "machine"]
        assert len(self.pairs(account="machine")) == 3
        assert self.lines(account="machine", origin="true")[0]["origin"]["annotator"] == self.dana.pseudonym

    def test_the_control_slice(self) -> None:
        self.submit_rankings([1, 2, 3], [1, 2, 3])
        Slot.objects.filter(annotator=self.bob).update(control=True)
        assert [row["control"] for row in self.raw()] == [True, False]
        assert len(self.pairs(control="true")) == 3

    def test_a_late_judgment_stands_in_raw_only(self) -> None:
        late = leases.claim(project=self.project, annotator=self.bob)
        expire(late)
        Slot.objects.filter(state="open").delete()
        builders.judgment(self.project, self.dana)
        builders.submit(late)
        assert [row["counted"] for row in self.raw()] == [True, False]
        assert len(self.raw(counted="true")) == 1
        assert len(self.pairs()) == 3

    def test_only_the_latest_revision_is_there(self) -> None:
        old = builders.judgment(self.project, self.bob, [1, 2, 3])
        newer = revise(old, [3, 2, 1])
        (row,) = self.raw()
        assert (row["judgment"], row["ranks"], row["supersedes"]) == (newer.pk, [3, 2, 1], old.pk)

    def test_a_round_is_known_where_the_sampler_noted_it(self) -> None:
        prompt = Item.objects.get().prompt
        prompt.responses.create(
            author=prompt.responses.all()[0].author, text="new", digest="d", sampling={"round": 2}
        )
        item = Item.objects.create(project=self.project, prompt=prompt)
        for response in prompt.responses.order_by("-id")[:2]:
            item.candidates.create(response=response)
        Slot.objects.create(item=item, project=self.project, priority=9)
        judgment = builders.judgment(self.project, self.bob)
        assert judgment.item_id == item.pk
        self.submit_rankings([1, 2, 3])
        assert [row["round"] for row in self.raw()] == [None, 2]
        assert len(self.raw(round="2")) == len(self.lines(round="2")) == 1

    def test_projects_do_not_mix(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.items(other, 1)
        builders.judgment(other, self.alice)
        assert self.raw() == []

    def test_an_answer_that_was_written_is_sft(self) -> None:
        project = builders.project(self.alice, "Write", task="demonstrations")
        builders.imported(project, {"id": "w", "prompt": "Write!"})
        lease = leases.claim(project=project, annotator=self.alice)
        assert lease is not None
        judgments.submit(lease=lease, ranks={}, text='My "answer".', idempotency_key=lease.token)
        self.project = project
        (row,) = self.raw()
        assert (row["demonstration"], row["ranks"], row["responses"]) == ('My "answer".', [], [])
        assert self.lines(format="sft") == [
            {
                "prompt": [{"role": "user", "content": "Write!"}],
                "completion": [{"role": "assistant", "content": 'My "answer".'}],
            }
        ]
        assert self.lines() == []


class OrderTests(ExportTestCase):
    def test_rows_of_one_prompt_stand_together_and_splits_part_prompts_only(self) -> None:
        fill(self.project, self.bob, 300)
        fill(self.project, self.dana, 300)
        rows = self.raw()
        keys = [(row["group"], row["item"], row["judgment"]) for row in rows]
        assert keys == sorted(keys)
        assert len(set(keys)) == 600
        by_split = [{row["group"] for row in self.raw(split=split)} for split in ("train", "held_out")]
        assert not by_split[0] & by_split[1]
        assert len(by_split[0] | by_split[1]) == 600

    def test_two_exports_are_the_same_bytes(self) -> None:
        fill(self.project, self.bob, 300)
        for file in ("jsonl", "parquet"):
            assert self.bytes_of(file=file) == self.bytes_of(file=file)

    def test_what_comes_in_meanwhile_is_left_for_the_next_time(self) -> None:
        fill(self.project, self.bob, 200)
        chunks = stream.export_project(self.project, Selection.from_parameters({"format": "rankings"}))
        first = next(chunks).count(b"\n")
        fill(self.project, self.dana, 5)
        assert first + sum(chunk.count(b"\n") for chunk in chunks) == 200

    def test_memory_stays_flat_however_many_there_are(self) -> None:
        fill(self.project, self.bob, 5_000)
        for file in ("jsonl", "parquet"):
            self.bytes_of(file=file)  # what is loaded for the first time is not of the export
            tracemalloc.start()
            for _ in stream.export_project(self.project, Selection.from_parameters({"file": file})):
                pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 16 * 2**20, (file, peak)
