from __future__ import annotations

import gzip
import json
import tempfile
import uuid
from typing import Any
from unittest.mock import patch

from django.db.models import F
from django.test import TestCase, override_settings

from annotation.actions import leases, queue, snapshots
from annotation.models import Judgment, Placement, Project, Response, Slot
from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests
from tests.annotation.queue_case import expire

PATH = "projects/helpfulness/judgments/"


class LiveExportTests(ApiTestCase):
    def test_what_has_not_changed_is_not_exported_again(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        first = self.get(PATH, self.dana)
        same = self.get(PATH, self.dana, **{"If-None-Match": first["ETag"]})
        assert (same.status_code, same.content) == (304, b"")
        other = self.get(f"{PATH}?format=raw", self.dana, **{"If-None-Match": first["ETag"]})
        assert (other.status_code, other["ETag"] != first["ETag"]) == (200, True)
        builders.judgment(self.project, self.bob)
        assert self.get(PATH, self.dana, **{"If-None-Match": first["ETag"]}).status_code == 200

    def test_it_is_compressed_for_those_who_take_it(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        plain = self.body_of(self.get(PATH, self.dana))
        for accepted in ("gzip", "br, gzip;q=0.5", "deflate, gzip"):
            answer = self.get(PATH, self.dana, **{"Accept-Encoding": accepted})
            assert answer["Content-Encoding"] == "gzip"
            assert gzip.decompress(self.body_of(answer)) == plain
        for refused in ("gzip;q=0", "gzip ; Q=0.0", "identity", "br"):
            assert not self.get(PATH, self.dana, **{"Accept-Encoding": refused}).has_header(
                "Content-Encoding"
            )
        parquet = self.get(f"{PATH}?file=parquet", self.dana, **{"Accept-Encoding": "gzip"})
        assert not parquet.has_header("Content-Encoding")


class AccessTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (
        ("GET", PATH, "lead reviewer", None),
        ("POST", PATH, "lead reviewer annotator", {}),
    )


class ExportTests(ApiTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 2)
        Slot.objects.update(random_key=F("item"))  # exports are in the order of the items
        builders.judgment(self.project, self.bob, [2, 1, 2, 3])
        builders.judgment(self.project, self.dana, [1, 2, 3, 4])

    def test_it_answers_in_trls_format_unless_asked_otherwise(self) -> None:
        lines = self.lines(self.get(PATH, self.alice))
        assert len(lines) == 5 + 6
        assert set(lines[0]) == {"prompt", "chosen", "rejected", "margin"}
        assert self.lines(self.get(f"{PATH}?format=trl", self.dana)) == lines

    def test_it_knows_the_other_formats(self) -> None:
        rankings = self.lines(self.get(f"{PATH}?format=rankings", self.dana))
        assert [line["ranks"] for line in rankings] == [[2, 1, 2, 3], [1, 2, 3, 4]]
        raw = self.lines(self.get(f"{PATH}?format=raw", self.dana))
        assert [line["annotator"] for line in raw] == [self.bob.pseudonym, self.dana.pseudonym]
        assert raw[0]["ranking"] == [[1], [0, 2], [3]]

    def test_it_is_a_download_of_lines(self) -> None:
        answer = self.get(f"{PATH}?format=raw", self.dana)
        assert answer.streaming
        assert answer["Content-Type"] == "application/x-ndjson; charset=utf-8"
        assert answer["Content-Disposition"] == 'attachment; filename="helpfulness-raw.jsonl"'

    def test_a_client_may_ask_for_lines_by_name(self) -> None:
        for accept in ("application/x-ndjson", "application/json", "*/*"):
            assert self.get(PATH, self.dana, Accept=accept).status_code == 200
        answer = self.get(f"{PATH}?format=csv", self.dana, Accept="application/x-ndjson")
        self.refused(answer, 400, "format")

    def test_an_unknown_format_is_refused_with_the_known_ones(self) -> None:
        for format in ("csv", "json", "api", "", "%00"):
            answer = self.get(f"{PATH}?format={format}", self.dana)
            self.refused(answer, 400, "format", "is none of: trl, trl-implicit, trl-text, kto, sft")

    def test_annotators_may_not_have_it(self) -> None:
        self.refused(self.get(PATH, self.bob), 403, "detail", "lead or reviewer")

    def test_a_snapshot_gives_what_was_frozen(self) -> None:
        with tempfile.TemporaryDirectory() as folder, override_settings(ARTIFACTS=folder):
            snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
            builders.items(builders.project(self.alice, "Other"), 1)
            frozen = self.lines(self.get(PATH, self.dana))
            self.project.overlap = 2
            self.project.save()
            builders.imported(self.project, {"id": "new", "prompt": "New?", "responses": ["a", "b"]})
            builders.judgment(self.project, self.bob)
            assert self.lines(self.get(f"{PATH}?snapshot=1", self.dana)) == frozen
            assert len(self.lines(self.get(PATH, self.dana))) == len(frozen) + 1
            answer = self.get(f"{PATH}?snapshot=1&format=raw", self.dana)
            assert answer["Content-Disposition"] == 'attachment; filename="helpfulness-1-raw.jsonl"'
            self.body_of(answer)
            snapshots.snapshot_path(snapshot).unlink()
            self.refused(self.get(f"{PATH}?snapshot=1", self.dana), 404, "detail", "not in the store")

    def test_a_snapshot_that_is_none_is_refused(self) -> None:
        for number in ("1", "0", "-1", "x", "", "9" * 30, "1.5", "%00", "²"):
            answer = self.get(f"{PATH}?snapshot={number}", self.dana)
            self.refused(answer, 400, "snapshot", "is not the number of a snapshot")

    def test_it_leaves_out_what_does_not_count(self) -> None:
        builders.imported(self.project, {"id": "new", "prompt": "New?", "responses": ["a", "b"]})
        late = leases.claim(project=self.project, annotator=self.bob)
        expire(late)
        builders.judgment(self.project, self.dana)
        builders.submit(late)
        assert len(self.lines(self.get(PATH, self.dana))) == 11 + 1
        raw = self.lines(self.get(f"{PATH}?format=raw", self.dana))
        assert [line["counted"] for line in raw] == [True, True, True, False]

    def test_an_empty_project_gives_an_empty_file(self) -> None:
        builders.project(self.alice, "Empty")
        assert self.lines(self.get("projects/empty/judgments/", self.alice)) == []


class QueueTestCase(ApiTestCase):
    def take(self, user: Any) -> dict[str, Any]:
        answer = self.post("projects/helpfulness/next/", user)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def body(self, item: dict[str, Any], **changes: Any) -> dict[str, Any]:
        ranks = {answer["label"]: rank for rank, answer in enumerate(item["answers"], start=1)}
        degree = {"degree": "better"} if item["degrees"] else {}
        return (
            {"ticket": item["ticket"], "ranks": ranks, "idempotency_key": str(uuid.uuid4())}
            | degree
            | changes
        )


def item_of(taken: dict[str, Any], user: Any) -> int:
    return leases.Lease.read(taken["ticket"], annotator=user).item_id


class SubmitTests(QueueTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 2)

    def stored_ranks(self) -> dict[int, int]:
        return dict(Placement.objects.values_list("response_id", "rank"))

    def test_ranks_go_by_label_or_in_the_order_shown(self) -> None:
        for ranks in (dict(zip("ABCD", [2, 1, 2, 3], strict=True)), [2, 1, 2, 3]):
            user = builders.user(str(uuid.uuid4()))
            builders.join(self.project, user, "annotator")
            self.project.overlap = 9
            self.project.save()
            builders.imported(
                self.project, {"id": user.username, "prompt": user.username, "responses": list("abcd")}
            )
            item = self.take(user)
            answer = self.post(PATH, user, self.body(item, ranks=ranks, rationale=" Short.\n"))
            assert answer.status_code == 201
            judgment = Judgment.objects.get(pk=answer.json()["id"])
            assert answer.json()["counted"] is True
            assert judgment.annotator == user
            assert judgment.rationale == "Short."
            assert {p.response_id: p.rank for p in judgment.placements.all()} == dict(
                zip(judgment.shown_order, [2, 1, 2, 3], strict=True)
            )

    def test_the_same_key_again_answers_with_what_was_kept(self) -> None:
        body = self.body(self.take(self.bob))
        first = self.post(PATH, self.bob, body)
        again = self.post(PATH, self.bob, body | {"ranks": [1, 1, 1, 1]})
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        assert Judgment.objects.count() == 1
        assert sorted(self.stored_ranks().values()) == [1, 2, 3, 4]

    def test_another_judgment_of_the_same_item_is_a_conflict(self) -> None:
        item = self.take(self.bob)
        assert self.post(PATH, self.bob, self.body(item)).status_code == 201
        self.refused(self.post(PATH, self.bob, self.body(item)), 409, "detail", "that judgment stays")
        assert Judgment.objects.count() == 1

    def test_a_late_judgment_is_kept_and_says_that_it_does_not_count(self) -> None:
        item = self.take(self.bob)
        expire(leases.claim(project=self.project, annotator=self.bob))
        while item_of(self.take(self.dana), self.dana) != item_of(item, self.bob):
            self.post(PATH, self.dana, self.body(self.take(self.dana)))
        self.post(PATH, self.dana, self.body(self.take(self.dana)))
        answer = self.post(PATH, self.bob, self.body(item))
        assert answer.status_code == 201
        assert answer.json()["counted"] is False

    def test_bad_judgments_are_refused_by_the_name_of_the_field(self) -> None:
        item = self.take(self.bob)
        for changes, field, sentence in (
            ({"ranks": {"A": 1, "B": 2, "C": 3}}, "ranks", "missing: D"),
            ({"ranks": {}}, "ranks", "missing: A, B, C, D"),
            ({"ranks": [1, 2]}, "ranks", "missing: C, D"),
            ({"ranks": [1, 2, 3, 4, 5]}, "ranks", "'E' is not in this item"),
            ({"ranks": {"A": 1, "B": 2, "C": 3, "Z": 4}}, "ranks", "'Z' is not in this item"),
            ({"ranks": {"A": 1, "B": 2, "C": 3, "999999": 4}}, "ranks", "'999999' is not in this item"),
            ({"ranks": [1, 2, 3, 0]}, "ranks", "from 1 to 4"),
            ({"ranks": [1, 2, 3, 5]}, "ranks", "from 1 to 4"),
            ({"ranks": [1, 2, 3, 10**30]}, "ranks", "from 1 to 4"),
            ({"ranks": [1, 2, 3, 1.5]}, "ranks", "whole number"),
            ({"ranks": [1, 2, 3, True]}, "ranks", "whole number"),
            ({"ranks": [1, 2, 3, "4"]}, "ranks", "whole number"),
            ({"ranks": [1, 2, 3, None]}, "ranks", "whole number"),
            ({"ranks": "ABCD"}, "ranks", "Give each answer's rank"),
            ({"ranks": None}, "ranks", "may not be null"),
            ({"ranks": [1] * 1000}, "ranks", "Give each answer's rank"),
            ({"degree": "better"}, "degree", "no degree"),
            ({"degree": "enormously"}, "degree", "not a valid choice"),
            ({"rationale": "x" * 10_001}, "rationale", "10000"),
            ({"rationale": "a\0b"}, "rationale", "Null characters"),
            ({"rationale": "\ud800"}, "rationale", "Surrogate"),
            ({"idempotency_key": "x"}, "idempotency_key", "valid UUID"),
            ({"ticket": "nonsense"}, "ticket", "damaged"),
            ({"ticket": item["ticket"][:-1]}, "ticket", "damaged"),
            ({"ticket": "x" * 5000}, "ticket", "4000"),
            ({"ticket": "\0"}, "ticket", "Null characters"),
            ({"ticket": ["x"]}, "ticket", "Not a valid string"),
        ):
            self.refused(self.post(PATH, self.bob, self.body(item, **changes)), 400, field, sentence)
        for field in ("ticket", "ranks", "idempotency_key"):
            body = self.body(item)
            del body[field]
            self.refused(self.post(PATH, self.bob, body), 400, field, "required")
        assert not Judgment.objects.exists()

    def test_a_comparison_needs_a_degree(self) -> None:
        builders.project(self.bob, "Pairs", k=2)
        pairs = "projects/pairs/"
        self.post(f"{pairs}prompts/", self.bob, [{"prompt": "Why?", "responses": ["a", "b"]}])
        item = self.post(f"{pairs}next/", self.bob).json()
        assert item["degrees"] == ["significantly", "better", "slightly", "negligibly"]
        body = self.body(item)
        without = {name: value for name, value in body.items() if name != "degree"}
        self.refused(self.post(f"{pairs}judgments/", self.bob, without), 400, "degree", "how much better")
        tie = self.post(f"{pairs}judgments/", self.bob, body | {"ranks": [1, 1]})
        self.refused(tie, 400, "ranks", "Choose one")
        answer = self.post(f"{pairs}judgments/", self.bob, body | {"degree": "slightly"})
        assert answer.json()["degree"] == "slightly"

    def test_a_ticket_is_for_one_person_and_one_project(self) -> None:
        body = self.body(self.take(self.bob))
        self.refused(self.post(PATH, self.dana, body), 400, "ticket", "given to someone else")
        builders.project(self.bob, "Other")
        answer = self.post("projects/other/judgments/", self.bob, body)
        self.refused(answer, 400, "ticket", "another project")

    def test_who_left_the_project_cannot_submit(self) -> None:
        body = self.body(self.take(self.bob))
        self.project.members.filter(user=self.bob).delete()
        self.refused(self.post(PATH, self.bob, body), 404, "detail")


class MineTests(QueueTestCase):
    HERE = "projects/helpfulness/judgments/mine/"

    def test_it_lists_what_one_said_oneself_and_has_not_changed(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3)
        first = builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.dana)
        second = builders.judgment(self.project, self.bob)
        changed = {"ranks": [4, 3, 2, 1], "idempotency_key": str(uuid.uuid4())}
        newer = self.post(f"projects/helpfulness/judgments/{first.pk}/revise/", self.bob, changed).json()
        (page,) = self.pages(self.HERE, self.bob)
        assert [said["id"] for said in page] == [newer["id"], second.pk]
        assert page[0] == newer

    def test_the_number_of_queries_does_not_grow(self) -> None:
        builders.items(self.project, 5)
        for _ in range(5):
            builders.judgment(self.project, self.bob)
        self.sign_in(self.bob)
        with self.assertNumQueries(4):  # user, membership, judgments, placements
            self.client.get(f"/api/v1/{self.HERE}")


class NextTests(QueueTestCase):
    def test_it_shows_the_answers_blind_in_the_order_of_the_lease(self) -> None:
        builders.imported(
            self.project,
            {
                "prompt": "Why?",
                "responses": [{"text": "\u202bمرحبا", "author": "gpt"}, {"text": "<b>", "author": "me"}],
            },
        )
        answer = self.post("projects/helpfulness/next/", self.bob)
        item = answer.json()
        lease = leases.claim(project=self.project, annotator=self.bob)
        texts = dict(Response.objects.values_list("pk", "text"))
        assert [a["text"] for a in item["answers"]] == [texts[pk] for pk in lease.shown_order]
        assert [a["label"] for a in item["answers"]] == ["A", "B"]
        assert {a["text"] for a in item["answers"]} == {"\u202bمرحبا", "<b>"}
        assert item["prompt"] == [{"role": "user", "content": "Why?"}]
        assert item["guideline_version"] == 1
        assert "gpt" not in json.dumps(item)

    def test_who_wrote_an_answer_is_hidden_in_it_too(self) -> None:
        texts = ["I am ChatGPT. Hello!", "Hello!"]
        builders.imported(self.project, {"prompt": "Hi.", "responses": texts})
        assert {a["text"] for a in self.take(self.bob)["answers"]} == {"I am [model]. Hello!", "Hello!"}

    def test_an_answer_to_be_made_better_is_given_as_it_is(self) -> None:
        Project.objects.update(task="demonstrations")
        self.project.refresh_from_db()
        builders.imported(self.project, {"prompt": "Hi.", "responses": ["I am ChatGPT. Hello!"]})
        assert [a["text"] for a in self.take(self.bob)["answers"]] == ["I am ChatGPT. Hello!"]

    def test_asking_again_gives_the_same_item(self) -> None:
        builders.items(self.project, 5)
        assert self.take(self.bob)["answers"] == self.take(self.bob)["answers"]

    def test_nothing_left_is_no_content(self) -> None:
        answer = self.post("projects/helpfulness/next/", self.bob)
        assert answer.status_code == 204
        assert answer.content == b""

    def test_a_busy_queue_is_a_conflict(self) -> None:
        with patch(
            "annotation.api.queue.claim", side_effect=queue.QueueError("The queue is busy. Try again.")
        ):
            self.refused(self.post("projects/helpfulness/next/", self.bob), 409, "detail", "Try again")

    def test_the_number_of_queries_does_not_grow_with_k(self) -> None:
        builders.items(self.project, 1, k=9)
        self.sign_in(self.bob)
        # user, membership; claim; item with its responses; guideline
        with self.assertNumQueries(5):
            self.client.post("/api/v1/projects/helpfulness/next/", content_type="application/json")


class SkipTests(QueueTestCase):
    def test_the_item_is_somebody_elses_then(self) -> None:
        builders.items(self.project, 1)
        item = self.take(self.bob)
        body = {"ticket": item["ticket"], "reason": "cannot_judge"}
        for _ in range(2):
            assert self.post("projects/helpfulness/skip/", self.bob, body).status_code == 204
        assert self.post("projects/helpfulness/next/", self.bob).status_code == 204
        assert item_of(self.take(self.dana), self.dana) == item_of(item, self.bob)

    def test_it_wants_a_reason_and_the_ticket(self) -> None:
        builders.items(self.project, 1)
        ticket = self.take(self.bob)["ticket"]
        path = "projects/helpfulness/skip/"
        self.refused(self.post(path, self.bob, {"ticket": ticket}), 400, "reason", "required")
        self.refused(self.post(path, self.bob, {"ticket": ticket, "reason": "bored"}), 400, "reason", "bored")
        self.refused(self.post(path, self.bob, {"ticket": "x", "reason": "broken"}), 400, "ticket", "damaged")
        self.refused(
            self.post(path, self.dana, {"ticket": ticket, "reason": "broken"}), 400, "ticket", "else"
        )
        assert Slot.objects.get().state == "leased"


class QueueAccessTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (
        ("POST", "projects/helpfulness/next/", "lead reviewer annotator", None),
        ("POST", "projects/helpfulness/skip/", "lead reviewer annotator", {}),
    )
