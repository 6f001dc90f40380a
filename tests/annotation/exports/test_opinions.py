"""Exports with a judge's opinions, and everything that opinions must not change."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.cache import cache
from django.urls import reverse

from annotation.actions import agreement, opinions
from annotation.actions.constitutions import write_constitution
from annotation.actions.opinions import JudgedGroup
from annotation.actions.snapshots import create_snapshot
from annotation.analytics import member_activity, new_judgment_count, queue_status
from annotation.analytics.annotators import annotator_stats
from annotation.analytics.filters import NO_FILTERS
from annotation.analytics.items import item_review
from annotation.exports import stream
from annotation.exports.formats import FORMATS
from annotation.exports.selection import Selection, SelectionError
from annotation.logic.principles import STARTING_PRINCIPLES
from annotation.models import Agreement, Item, OpinionSet, Response
from tests import builders
from tests.annotation.exports.base import ExportTestCase
from training.comparisons.leaderboard import rate_policies
from training.registry.actions import add_model
from training.registry.queries import count_judgments_behind, models_with_judgments

PAIR_FORMATS = [name for name, format in FORMATS.items() if format.rows == "pairs"]


class OpinionExportCase(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2, k=3)
        for user in (self.bob, self.dana):
            for _ in range(2):
                builders.judgment(self.project, user, [1, 2, 3])
        self.groups = [self.group(item) for item in Item.objects.order_by("id")]

    def group(self, item: Item) -> list[int]:
        return list(Response.objects.filter(prompt=item.prompt).order_by("id").values_list("id", flat=True))

    def store(self, *ps: float, scores: list[float] | None = None, **changed: Any) -> OpinionSet:
        """Opinions on the first response of each prompt and the others."""
        rows = [
            JudgedGroup(
                item.prompt_id,
                ids,
                [{"first": 0, "second": place, "p": p} for place, p in enumerate(ps, 1)],
                scores=scores,
            )
            for item, ids in zip(Item.objects.order_by("id"), self.groups, strict=True)
        ]
        values = {"judge": "tiny-judge", "mode": "choice", "constitution": None, "author": None} | changed
        return opinions.store_opinions(
            project=self.project, rows=rows, tokens_in=1, tokens_out=1, cost=0.0, creator=self.alice, **values
        )


class OpinionExportTests(OpinionExportCase):
    def test_the_response_with_the_higher_probability_is_chosen(self) -> None:
        constitution = write_constitution(
            project=self.project, principles=STARTING_PRINCIPLES, author=self.alice
        )
        self.store(0.2, 0.75, constitution=constitution)
        rows = self.lines(format="trl-text", ai="only")
        assert [(row["chosen"], row["rejected"], row["probability"]) for row in rows] == [
            ("Answer B to 0.", "Answer A to 0.", 0.8),
            ("Answer A to 0.", "Answer C to 0.", 0.75),
            ("Answer B to 1.", "Answer A to 1.", 0.8),
            ("Answer A to 1.", "Answer C to 1.", 0.75),
        ]
        assert rows[0]["prompt"] == "Question 0?"
        assert {(row["source"], row["judge"], row["constitution"]) for row in rows} == {
            ("ai", "tiny-judge", 1)
        }

    def test_one_half_gives_no_pair_and_a_tie_in_rankings(self) -> None:
        self.store(0.5, 0.75)
        assert len(self.lines(ai="only")) == 2
        rankings = self.lines(format="rankings", ai="only")
        assert [(row["ranks"], row["probability"], row["constitution"]) for row in rankings] == [
            ([1, 1], 0.5, None),
            ([1, 2], 0.75, None),
        ] * 2

    def test_people_come_first_and_are_marked(self) -> None:
        self.store(0.2, 0.75)
        people = self.lines()
        rows = self.lines(ai="with")
        marks = {"source": "person", "judge": None, "constitution": None, "probability": None}
        assert rows[: len(people)] == [row | marks for row in people]
        assert rows[len(people) :] == self.lines(ai="only")
        assert "source" not in people[0]
        # filters of people's judgments, and pooled votes, leave opinions as they are
        few = self.lines(ai="with", annotator=self.bob.pseudonym, votes="majority")
        assert [row["source"] for row in few] == ["person"] * 6 + ["ai"] * 4

    def test_filters_of_prompts_and_responses_apply(self) -> None:
        self.store(0.2, 0.75)
        split = Item.objects.order_by("id")[0].prompt.split
        other = {"train": "held_out", "held_out": "train"}[split]
        sizes = [len(self.lines(ai="only", split=name)) for name in (split, other)]
        assert sum(sizes) == 4
        assert sizes[0] > 0
        assert self.lines(ai="only", tag="none") == []
        assert self.lines(ai="only", model="nobody") == []
        assert self.lines(ai="only", since="2100-01-01") == []
        Item.objects.filter(pk=Item.objects.earliest("id").pk).update(gold=[1, 2, 3])
        assert len(self.lines(ai="only")) == 2
        assert len(self.lines(ai="only", gold="only")) == 2

    def test_the_latest_set_or_the_one_that_is_named(self) -> None:
        self.store(0.2)
        self.store(0.9, judge="another")
        assert {row["judge"] for row in self.lines(ai="only")} == {"another"}
        assert {row["judge"] for row in self.lines(ai="only", opinions="1")} == {"tiny-judge"}
        with pytest.raises(SelectionError, match="no opinion set 3"):
            stream.export_project(self.project, Selection.from_parameters({"ai": "only", "opinions": "3"}))

    def test_without_opinions_it_says_so(self) -> None:
        with pytest.raises(SelectionError, match="No judge has given its opinions"):
            stream.export_project(self.project, Selection.from_parameters({"ai": "with"}))

    def test_every_format_of_pairs_has_them_as_json_and_as_parquet(self) -> None:
        self.store(0.2, 0.75, scores=[0.5, 1.5, -1.0])
        for format in (*PAIR_FORMATS, "rankings"):
            for ai in ("only", "with"):
                for origin in ("false", "true"):
                    with self.subTest(format, ai=ai, origin=origin):
                        given = {"format": format, "ai": ai, "origin": origin}
                        rows = self.lines(**given)
                        table = pq.read_table(io.BytesIO(self.bytes_of(**given, file="parquet")))
                        assert table.num_rows == len(rows) >= 4
                        assert table.column("probability").to_pylist() == [r["probability"] for r in rows]
                        assert list(rows[-1]) == table.column_names
        first = self.lines(format="ultrafeedback", ai="only", origin="true")[0]
        assert (first["score_chosen"], first["score_rejected"]) == (1.5, 0.5)
        origin = first["origin"]
        assert (origin["judgment"], origin["item"], origin["votes"], origin["agreement"]) == (None,) * 4
        assert (origin["annotator"], origin["chosen_model"]) == ("tiny-judge", origin["models"][1])

    def test_what_cannot_be_is_refused(self) -> None:
        for given, field, words in (
            ({"format": "raw", "ai": "only"}, "ai", "The format raw cannot have a judge's opinions"),
            ({"format": "kto", "ai": "with"}, "ai", "cannot have"),
            ({"format": "helpsteer3", "ai": "with"}, "ai", "cannot have"),
            ({"ai": "maybe"}, "ai", "is none of"),
            ({"opinions": "1"}, "opinions", "ai=only or ai=with"),
            ({"ai": "only", "votes": "majority"}, "votes", "have no votes"),
            ({"ai": "only", "annotator": "x"}, "annotator", "have no annotator"),
            ({"ai": "only", "control": "true"}, "control", "have no control"),
        ):
            with self.subTest(given), pytest.raises(SelectionError, match=words) as caught:
                Selection.from_parameters(given)
            assert caught.value.field == field

    def test_pages_and_the_api_have_them_of_the_project_and_not_of_a_snapshot(self) -> None:
        create_snapshot(project=self.project, creator=self.alice)
        slug = self.project.slug
        self.sign_in(self.dana)
        page = self.client.get(reverse("snapshots", args=[slug]))
        self.assertNotContains(page, "Opinions of judges")
        assert self.client.get(reverse("live-download", args=[slug]), {"ai": "only"}).status_code == 404
        self.store(0.2, 0.75)
        page = self.client.get(reverse("snapshots", args=[slug]))
        self.assertContains(page, "Opinions of judges")
        for url in (reverse("live-download", args=[slug]), reverse("api-judgments", args=[slug])):
            answer = self.client.get(url, {"ai": "only"})
            lines = b"".join(answer).splitlines()  # type: ignore[arg-type]
            assert [json.loads(line)["source"] for line in lines] == ["ai"] * 4
        answer = self.client.get(reverse("api-judgments", args=[slug]), {"ai": "only", "opinions": 9})
        assert answer.status_code == 400
        assert "no opinion set 9" in answer.json()["errors"]["opinions"][0]
        url = reverse("snapshot-download", args=[slug, 1])
        assert self.client.get(url, {"ai": "only"}).status_code == 404
        for url, query in (
            (reverse("api-snapshot-file", args=[slug, 1]), {"ai": "with"}),
            (reverse("api-judgments", args=[slug]), {"ai": "with", "snapshot": 1}),
        ):
            answer = self.client.get(url, query)
            assert answer.status_code == 400
            assert "people's judgments only" in answer.json()["errors"]["ai"][0]


class NothingElseChangesTests(OpinionExportCase):
    def figures(self) -> dict[str, Any]:
        """What counts, compares or pays annotators, by actions, pages' figures and the API."""
        cache.clear()
        agreement.update()
        project = self.project
        slug = project.slug
        self.sign_in(self.alice)
        figures: dict[str, Any] = {
            "export": {format: self.bytes_of(format=format, origin="true") for format in FORMATS},
            "pooled": [self.bytes_of(votes=votes) for votes in ("majority", "bradley-terry", "unanimous")],
            "agreement": list(Agreement.objects.order_by("item").values()),
            "consensus": [item_review(item).consensus for item in Item.objects.order_by("id")],
            "annotators": annotator_stats(project, NO_FILTERS),
            "activity": list(member_activity(project)),
            "queue": queue_status(project),
            "new": new_judgment_count(project, project.snapshots.first()),
            "models": models_with_judgments(project),
            "behind": [count_judgments_behind(version) for version, _ in models_with_judgments(project)],
        }
        for name in (
            *("project", "quality", "timesheet", "members", "items", "judgments-mine", "batches"),
            *("models", "leaderboard"),
        ):
            answer = self.client.get(reverse(f"api-{name}", args=[slug]))
            assert answer.status_code == 200, (name, answer.content)
            figures[name] = answer.content
        return figures

    def test_opinions_change_no_figure_and_no_export(self) -> None:
        policy = add_model(
            project=self.project, kind="policy", name="policy-0", location="hub:somewhere/policy@main"
        )
        by_two = [{"text": "Yes.", "author": "old"}, {"text": "No.", "author": "new"}]
        builders.imported(self.project, {"prompt": "Is it?", "responses": [*by_two, "Maybe."]})
        builders.judgment(self.project, self.bob)
        self.groups.append(self.group(Item.objects.latest("id")))
        assert len(rate_policies(self.project)) > 1
        create_snapshot(project=self.project, creator=self.alice)
        before = self.figures()
        self.store(0.2, 0.75, author=policy.author)
        after = self.figures()
        for name, value in before.items():
            assert after[name] == value, name
        second = create_snapshot(project=self.project, creator=self.alice)
        first = self.project.snapshots.get(number=1)
        assert (second.sha256, second.counts) == (first.sha256, first.counts)
