"""A project's own questions: the lead's editor, and what annotators answer, from the screen to the exports."""

from __future__ import annotations

import json
import tempfile
import uuid
from random import Random
from typing import Any

import krippendorff
import pytest
from django.test import override_settings
from django.urls import reverse

from annotation.actions import judgments, leases
from annotation.actions.projects import write_questions
from annotation.actions.snapshots import create_snapshot
from annotation.analytics.filters import NO_FILTERS
from annotation.analytics.rating_agreement import rating_agreement
from annotation.logic.judgment_input import ResponseRatings
from annotation.logic.questions import PRESETS, read_questions
from annotation.models import AuditEntry, Draft, Judgment, QuestionSet, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.annotation.judging import JudgingTestCase
from tests.base import PalateTestCase

ALL_KINDS = [
    {"kind": "rating", "label": "Truthfulness", "scale": 5},
    {"kind": "flag", "label": "Rude"},
    {"kind": "text", "label": "What is wrong?", "min_chars": 5},
    {"kind": "comments", "label": "Comments"},
]


class EditorTests(AccessTestCase):
    def form(self, *rows: dict[str, object]) -> dict[str, object]:
        data: dict[str, object] = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": 0}
        for number, row in enumerate(rows):
            data |= {f"form-{number}-{name}": value for name, value in row.items()}
        return data

    def save(self, *rows: dict[str, object], **more: object):
        self.sign_in(self.alice)
        return self.client.post(self.url(), self.form(*rows) | more)

    def url(self) -> str:
        return reverse("questions", args=[self.project.slug])

    def current(self) -> list[dict[str, Any]]:
        self.project.refresh_from_db()
        return self.project.question_set.questions if self.project.question_set else []

    def test_it_is_for_leads(self) -> None:
        self.check(Endpoint("questions", get=200, post=422))

    def test_each_change_is_the_next_version_and_keys_stay(self) -> None:
        truth = {"kind": "rating", "label": "Truthfulness", "scale": 5, "low": "false", "required": "on"}
        self.assertRedirects(self.save(truth, {"kind": "flag", "label": ""}), self.url())
        (question,) = self.current()
        assert (question["key"], question["scale"], question["low"]) == ("truthfulness", 5, "false")
        self.save({**truth, "key": "truthfulness", "label": "Is it true?"})
        assert [(q["key"], q["label"]) for q in self.current()] == [("truthfulness", "Is it true?")]
        self.save({**truth, "key": "truthfulness", "label": "Is it true?"})  # unchanged
        assert QuestionSet.objects.count() == 2
        self.save({**truth, "key": "truthfulness", "DELETE": "on"})
        assert self.current() == []
        assert QuestionSet.objects.count() == 3
        assert AuditEntry.objects.filter(verb="questions.changed").count() == 3

    def test_what_is_wrong_stands_at_its_field_and_nothing_is_saved(self) -> None:
        page = self.save({"kind": "rating", "label": "Truth", "scale": 11})
        self.assertContains(page, "This is a whole number from 2 to 10.", status_code=422)
        page = self.save({"kind": "flag", "key": "x", "label": ""})
        self.assertContains(page, "Each question needs a label.", status_code=422)
        page = self.save({"kind": "essay", "label": "Why"})
        self.assertContains(page, "essay is not one of the available choices", status_code=422)
        page = self.save(*[{"kind": "flag", "label": f"Flag {n}"} for n in range(21)])
        assert page.status_code == 422
        assert not QuestionSet.objects.exists()

    def test_a_damaged_form_is_refused(self) -> None:
        self.sign_in(self.alice)
        assert self.client.post(self.url(), {}).status_code == 422


class AnswerTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        write_questions(project=self.project, questions=read_questions(ALL_KINDS), author=self.alice)
        builders.imported(
            self.project,
            {"prompt": "Where is Paris?", "responses": ["In France.", "In *Texas*.", "Here.", "Not here."]},
        )

    def filled(self, context: dict[str, Any], **fields: object) -> dict[str, object]:
        shown = {card.response.text: card.letter for card in context["cards"]}
        comment = [{"text": "There is one, too.", "quote": "In Texas", "occurrence": 0}]
        return self.ranked(context, 1, 2, 3, 4) | {
            **{f"criterion-truthfulness-{letter}": 5 - n for n, letter in enumerate("ABCD")},
            "flags-A": ["rude"],
            "answer-what_is_wrong": "The second one.",
            f"comments-{shown['In *Texas*.']}": json.dumps(comment),
            f"comments-{shown['In France.']}": json.dumps([{"text": "Yes.", "quote": "France"}]),
            **fields,
        }

    def raw(self) -> dict[str, Any]:
        (line,) = self.exported("raw")
        return json.loads(line)

    def exported(self, format: str) -> list[bytes]:
        self.sign_in(self.alice)
        response = self.client.get(reverse("live-download", args=[self.project.slug]), {"format": format})
        return b"".join(response).splitlines()

    def test_from_the_screen_to_the_export(self) -> None:
        context = self.open()
        self.assertContains(self.client.get(self.url()), "Truthfulness")
        assert self.send(self.filled(context)).status_code == 200
        judgment = Judgment.objects.get()
        assert judgment.question_set.number == 1
        assert judgment.answers == {"what_is_wrong": "The second one."}
        row = self.raw()
        assert (row["questions"], row["answers"]) == (
            1,
            [{"question": "what_is_wrong", "text": "The second one."}],
        )
        by_text = {response["text"]: response for response in row["responses"]}
        assert by_text["In France."]["comments"] == [
            {"quote": "France", "start": 3, "end": 9, "text": "Yes."}
        ]
        assert by_text["In *Texas*."]["comments"][0]["start"] is None
        first = next(r for r in row["responses"] if r["flags"] == ["rude"])
        assert first["ratings"] == [{"question": "truthfulness", "value": 5}]
        item = self.client.get(reverse("item", args=[self.project.slug, judgment.item_id]))
        for shown in ("truthfulness 5", "The second one.", "There is one, too.", "1 flag"):
            self.assertContains(item, shown)

    def test_what_is_missing_is_named_and_the_rest_stays(self) -> None:
        context = self.open()
        page = self.send(self.filled(context, **{"criterion-truthfulness-C": ""}))
        self.assertContains(
            page, "Truthfulness: every answer needs a rating from 1 to 5; missing: C", status_code=422
        )
        assert page.context["cards"][0].criteria[0][1] == 5
        assert "There is one, too." in page.content.decode()
        page = self.send(self.filled(context, **{"answer-what_is_wrong": "No."}))
        self.assertContains(page, "at least 5 characters, please; there are 3", status_code=422)
        assert not Judgment.objects.exists()

    def test_a_draft_brings_all_of_it_back(self) -> None:
        context = self.open()
        self.send(self.filled(context), "work-draft")
        assert Draft.objects.get().data["answers"] == {"what_is_wrong": "The second one."}
        again = self.open()
        assert [card.criteria[0][1] for card in again["cards"]] == [5, 4, 3, 2]
        assert again["cards"][0].ratings.flags == ("rude",)
        assert sum("France" in card.comments for card in again["cards"]) == 1

    def test_a_lease_keeps_the_questions_that_were_shown(self) -> None:
        context = self.open()
        write_questions(project=self.project, questions=PRESETS, author=self.alice)
        assert self.send(self.filled(context)).status_code == 200
        assert Judgment.objects.get().question_set.number == 1

    def test_a_revision_answers_the_current_ones(self) -> None:
        self.send(self.filled(self.open()))
        old = Judgment.objects.get()
        url = reverse("my-judgment", args=[old.pk])
        page = self.client.get(url).context
        assert page["texts"][0][1] == "The second one."
        form = self.filled({"cards": page["cards"], "key": page["key"], "ticket": ""})
        form["criterion-truthfulness-A"] = 1
        assert self.client.post(url, form).status_code == 302
        revision = Judgment.objects.get(supersedes=old)
        first = revision.placements.get(response_id=revision.shown_order[0])
        assert first.criteria == {"truthfulness": 1}
        assert revision.question_set.number == 1

    def test_nothing_is_asked_of_the_database_for_them(self) -> None:
        self.open()  # the questions of a version are read once a process
        with self.assertNumQueries(5):
            self.open()

    def test_erasing_an_account_blanks_what_was_written(self) -> None:
        self.send(self.filled(self.open()))
        builders.erase(self.bob)
        judgment = Judgment.objects.get()
        assert judgment.answers == {}
        assert list(judgment.placements.values_list("comments", flat=True)) == [[]] * 4
        assert sorted(p.criteria["truthfulness"] for p in judgment.placements.all()) == [2, 3, 4, 5]

    def test_a_snapshot_lists_the_questions(self) -> None:
        self.send(self.filled(self.open()))
        with tempfile.TemporaryDirectory() as folder, override_settings(ARTIFACTS=folder):
            snapshot = create_snapshot(project=self.project, creator=self.alice)
            (version,) = snapshot.manifest["questions"]
            assert (version["number"], version["judgments"], len(version["questions"])) == (1, 1, 4)
            self.sign_in(self.alice)
            page = self.client.get(reverse("snapshot", args=[self.project.slug, snapshot.number]))
            self.assertContains(page, "Version 1 of the questions (1 judgments)")
            self.assertContains(page, "<code>truthfulness</code>, rating, 1 to 5")

    def test_exports_of_pairs_go_on_without_them(self) -> None:
        self.send(self.filled(self.open()))
        assert len(self.exported("trl")) == 6


class AgreementTests(PalateTestCase):
    def test_it_is_that_of_the_library_for_each_rating_and_flag(self) -> None:
        project = builders.project(self.alice, "Rated", k=2, overlap=2, asks_safety=True)
        write_questions(project=project, questions=read_questions(ALL_KINDS[:2]), author=self.alice)
        builders.items(project, 12)
        random = Random(7)
        ratings: dict[User, dict[int, ResponseRatings]] = {self.bob: {}, self.dana: {}}
        for user, given in ratings.items():
            builders.join(project, user, "annotator")
            while lease := leases.claim(project=project, annotator=user):
                answers = {
                    response: ResponseRatings(
                        safe=True,
                        flags=("rude",) if random.random() < 0.3 else (),
                        criteria={"truthfulness": response % 4 + random.randint(1, 2)},
                    )
                    for response in lease.shown_order
                }
                given |= answers
                ranks = dict(zip(lease.shown_order, (1, 2), strict=True))
                judgments.submit(
                    lease=lease, ranks=ranks, degree="better", ratings=answers, idempotency_key=uuid.uuid4()
                )
        found = {row.name: row for row in rating_agreement(project, NO_FILTERS)}
        assert set(found) == {"truthfulness", "rude", "safety"}
        assert (found["safety"].alpha, found["safety"].same) == (None, 1.0)  # everybody said the same
        for name, value in (
            ("truthfulness", lambda rating: rating.criteria["truthfulness"]),
            ("rude", lambda rating: 1 + len(rating.flags)),
        ):
            table = [[value(given[response]) for response in sorted(given)] for given in ratings.values()]
            expected = krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal")
            assert found[name].alpha is not None
            assert found[name].alpha.value == pytest.approx(expected)
            assert found[name].same == sum(x == y for x, y in zip(*table, strict=True)) / 24
            assert found[name].answers == 24

    def test_a_judgment_alone_is_no_agreement(self) -> None:
        project = builders.project(self.alice, "Rated", k=2, asks_safety=True)
        assert rating_agreement(project, NO_FILTERS) == []
