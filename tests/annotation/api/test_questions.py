"""A project's own questions over the API: changing them, and answering them."""

from __future__ import annotations

import uuid

from annotation.actions.projects import write_questions
from annotation.logic.questions import PRESETS, read_questions
from annotation.models import Judgment, QuestionSet
from tests import builders
from tests.annotation.api.base import ApiTestCase

PATH = "projects/helpfulness/questions/"
ASKED = [
    {"kind": "rating", "label": "Honesty", "scale": 3},
    {"kind": "flag", "label": "Rude"},
    {"kind": "text", "label": "Why?"},
    {"kind": "comments", "label": "Comments"},
]


class QuestionsApiTests(ApiTestCase):
    def test_leads_change_them_and_every_member_reads_them(self) -> None:
        answer = self.post(PATH, self.alice, {"questions": ASKED})
        assert answer.status_code == 200, answer.content
        assert [question["key"] for question in answer.json()[0]["questions"]] == [
            "honesty",
            "rude",
            "why",
            "comments",
        ]
        self.post(PATH, self.alice, {"questions": []})
        versions = self.get(PATH, self.bob).json()
        assert [(version["version"], version["is_current"]) for version in versions] == [
            (2, True),
            (1, False),
        ]

    def test_a_wrong_question_is_named(self) -> None:
        for questions, sentence in (
            (
                [{"kind": "rating", "label": "X"}, {"kind": "essay", "label": "Y"}],
                "Question 2, kind: The kind is one of",
            ),
            (
                [{"kind": "rating", "label": "X", "scale": 11}],
                "Question 1, scale: This is a whole number from 2 to 10",
            ),
            ("x", "not a list"),
            (
                [{"kind": "comments", "label": "A"}, {"kind": "comments", "label": "B"}],
                "can be asked for once",
            ),
        ):
            self.refused(self.post(PATH, self.alice, {"questions": questions}), 400, "questions", sentence)
        assert not QuestionSet.objects.exists()

    def test_a_script_answers_them(self) -> None:
        write_questions(project=self.project, questions=read_questions(ASKED), author=self.alice)
        builders.imported(self.project, {"prompt": "Who?", "responses": ["You.", "Me.", "Them.", "Us."]})
        item = self.post("projects/helpfulness/next/", self.bob).json()
        assert [question["kind"] for question in item["questions"]] == ["rating", "flag", "text", "comments"]
        marks = {answer["label"]: {"criteria": {"honesty": 2}} for answer in item["answers"]}
        marks["A"] |= {
            "flags": ["rude"],
            "comments": [{"text": "Says who?", "quote": item["answers"][0]["text"]}],
        }
        body = {
            "ticket": item["ticket"],
            "ranks": [1, 2, 3, 4],
            "marks": marks,
            "answers": {"why": "It is short."},
        }
        made = self.post(
            "projects/helpfulness/judgments/", self.bob, body | {"idempotency_key": str(uuid.uuid4())}
        )
        assert made.status_code == 201, made.content
        assert made.json()["answers"] == {"why": "It is short."}
        first = made.json()["placements"][0]
        assert (first["criteria"], first["flags"]) == ({"honesty": 2}, ["rude"])
        # where it stands would tell annotators of hidden names where they are
        assert first["comments"] == [
            {"text": "Says who?", "quote": item["answers"][0]["text"], "occurrence": 0}
        ]
        assert Judgment.objects.get().placements_in_order()[0].comments[0]["start"] == 0
        assert Judgment.objects.get().question_set.number == 1

    def test_what_is_missing_is_named_by_its_field(self) -> None:
        write_questions(project=self.project, questions=PRESETS, author=self.alice)
        builders.items(self.project, 1)
        item = self.post("projects/helpfulness/next/", self.bob).json()
        body = {"ticket": item["ticket"], "ranks": [1, 2, 3, 4], "idempotency_key": str(uuid.uuid4())}
        self.refused(
            self.post("projects/helpfulness/judgments/", self.bob, body),
            400,
            "criteria",
            "missing: A, B, C, D",
        )
