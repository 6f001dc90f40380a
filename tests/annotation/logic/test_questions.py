"""A project's own questions: what is asked, and which answers are taken."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.logic.judgment_input import JudgmentError, JudgmentInput, ResponseRatings, check
from annotation.logic.questions import (
    Comment,
    Question,
    QuestionError,
    QuestionKind,
    read_questions,
    stored_questions,
)

RATING = {"kind": "rating", "label": "Truthfulness", "scale": 3, "low": "false", "high": "true"}


def test_a_key_is_made_from_the_label_and_is_taken_once() -> None:
    questions = read_questions(
        [
            {"kind": "flag", "label": "Too long!"},
            {"kind": "flag", "label": "too long"},
            {"kind": "flag", "label": "長い"},
        ]
    )
    assert [question.key for question in questions] == ["too_long", "too_long_2", "question"]


def test_what_is_stored_comes_back() -> None:
    questions = read_questions(
        [RATING, {"kind": "text", "label": "Why?", "min_chars": 20, "required": False}]
    )
    assert list(stored_questions([question.as_data() for question in questions])) == questions
    assert questions[0].ends == "1 is false, 3 is true"
    assert list(questions[0].values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"kind": "essay"}, "kind", "one of rating"),
        ({"label": "  "}, "label", "needs a label"),
        ({"label": "x" * 81}, "label", "at most 80"),
        ({"label": "a\0"}, "label", "null byte"),
        ({"key": "Truth"}, "key", "small letters"),
        ({"key": "hallucination"}, "key", "taken"),
        ({"key": "quality"}, "key", "taken"),
        ({"scale": 1}, "scale", "from 2 to 10"),
        ({"scale": True}, "scale", "whole number"),
        ({"scale": "5"}, "scale", "whole number"),
        ({"min_chars": 2001}, "min_chars", "from 0 to 2,000"),
        ({"required": "yes"}, "required", "true or false"),
        ({"wieght": 2}, "wieght", "no field"),
    ],
)
def test_a_wrong_question_is_refused_by_its_number_and_field(
    changes: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(QuestionError, match=sentence) as caught:
        read_questions([{"kind": "flag", "label": "Rude"}, RATING | changes])
    assert (caught.value.number, caught.value.field) == (1, field)


@pytest.mark.parametrize(
    "data", [None, {}, "x", [3], [RATING] * 21, [{"kind": "comments", "label": "Notes"}] * 2]
)
def test_what_is_no_list_of_questions_is_refused(data: object) -> None:
    with pytest.raises(QuestionError):
        read_questions(data)


def ask(*questions: dict[str, Any]) -> tuple[Question, ...]:
    return tuple(read_questions(list(questions)))


def judge(
    questions: tuple[Question, ...], *ratings: ResponseRatings, answers: dict[str, str] | None = None
) -> JudgmentInput:
    judgment = JudgmentInput(
        shown_order=[7, 8, 9],
        extra_questions=[],
        ranks={7: 1, 8: 2, 9: 3},
        degree=None,
        rationale="",
        ratings=dict(zip([7, 8, 9], ratings, strict=False)),
        text="",
        questions=questions,
        answers=answers or {},
    )
    check(judgment)
    return judgment


def rated(value: int) -> ResponseRatings:
    return ResponseRatings(criteria={"truthfulness": value})


def test_every_answer_needs_a_rating_that_is_required() -> None:
    judgment = judge(ask(RATING), rated(1), rated(3), rated(2))
    assert [row["criteria"] for row in judgment.placements({})] == [{"truthfulness": n} for n in (1, 3, 2)]
    for ratings, sentence in (
        ((rated(1), rated(3)), "Truthfulness: every answer needs a rating from 1 to 3; missing: C"),
        ((rated(1), rated(4), rated(2)), "give a rating from 1 to 3"),
        ((rated(1), rated(0), rated(2)), "give a rating from 1 to 3"),
        (
            (ResponseRatings(criteria={"candour": 1}), rated(1), rated(2)),
            "does not ask for a rating 'candour'",
        ),
    ):
        with pytest.raises(JudgmentError, match=sentence) as caught:
            judge(ask(RATING), *ratings)
        assert caught.value.field == "criteria"
    judge(ask(RATING | {"required": False}), rated(1))


def test_own_flags_stand_beside_the_built_in_ones() -> None:
    flag = ask({"kind": "flag", "label": "Rude"})
    judgment = judge(flag, ResponseRatings(flags=("rude", "rude")))
    assert [row["flags"] for row in judgment.placements({})] == [["rude"], [], []]
    with pytest.raises(JudgmentError, match="'hallucination' is not a flag: there are rude"):
        judge(flag, ResponseRatings(flags=("hallucination",)))
    with pytest.raises(JudgmentError, match="does not ask for flags"):
        judge((), ResponseRatings(flags=("rude",)))


def test_a_text_has_a_least_length() -> None:
    text = ask({"kind": "text", "label": "What is wrong?", "min_chars": 10})
    judgment = judge(text, answers={"what_is_wrong": "  The date is.  "})
    assert judgment.stored_answers() == {"what_is_wrong": "The date is."}
    for answers, sentence in (
        ({}, "What is wrong\\?: write a few words"),
        ({"what_is_wrong": " "}, "write a few words"),
        ({"what_is_wrong": "The   "}, "at least 10 characters, please; there are 3"),
        ({"what_is_wrong": "x" * 10_001}, "at most 10,000"),
        ({"what_is_wrong": "a\ud800" * 9}, "half of a character"),
        ({"what_is_wrong": "The date is.", "who": "me"}, "does not ask the question 'who'"),
    ):
        with pytest.raises(JudgmentError, match=sentence) as caught:
            judge(text, answers=answers)
        assert caught.value.field == "answers"
    optional = ask({"kind": "text", "label": "What is wrong?", "min_chars": 10, "required": False})
    judge(optional)
    with pytest.raises(JudgmentError, match="at least 10"):
        judge(optional, answers={"what_is_wrong": "short"})


def test_a_key_keeps_its_meaning() -> None:
    earlier = read_questions([RATING, {"kind": "flag", "label": "Rude"}])
    again = read_questions([RATING | {"label": "Is it true?", "key": "truthfulness"}], earlier)
    assert [question.key for question in again] == ["truthfulness"]
    other_scale = read_questions([RATING | {"scale": 5}, {"kind": "rating", "label": "Rude"}], earlier)
    assert [question.key for question in other_scale] == ["truthfulness_2", "rude_2"]
    named = read_questions([{"kind": "rating", "label": label} for label in ("Quality", "Safety")])
    assert [question.key for question in named] == ["quality_2", "safety_2"]


def test_a_place_that_is_not_certain_is_none() -> None:
    source = "[foo](http://x/foo) foo"
    assert (
        Comment("Why?", "foo", 1, occurrences=2).as_data(source)["start"] is None
    )  # shown twice, written three times
    assert Comment("Why?", "foo", 2, occurrences=3).as_data(source)["start"] == 20
    assert Comment("Why?", "e", 10**9).as_data("e" * 100_000)["start"] is None
    assert Comment("Why?", "e", 900).as_data("e" * 100_000)["start"] == 900


def test_comments_store_their_place_in_the_text() -> None:
    source = "Paris is big. Paris is *old*."
    for comment, place in (
        (Comment("Which one?", "Paris"), (0, 5)),
        (Comment("Which one?", "Paris", 1), (14, 19)),
        (Comment("Which one?", "Paris", 9), (None, None)),
        (Comment("Not word for word.", "is old"), (None, None)),
        (Comment("All of it."), (None, None)),
    ):
        data = comment.as_data(source)
        assert (data["start"], data["end"]) == place
        assert (data["text"], data["quote"]) == (comment.text, comment.quote)


def test_a_comment_has_words_and_bounds() -> None:
    asked = ask({"kind": "comments", "label": "Comments"})
    judge(asked, ResponseRatings(comments=(Comment("Wrong.", "1954"),)))
    for comments, sentence in (
        ([Comment(" ")], "empty"),
        ([Comment("x" * 2_001)], "at most 2,000"),
        ([Comment("x", "y" * 2_001)], "at most 2,000"),
        ([Comment("a\0")], "null byte"),
        ([Comment("x")] * 51, "at most 50"),
    ):
        with pytest.raises(JudgmentError, match=sentence) as caught:
            judge(asked, ResponseRatings(comments=tuple(comments)))
        assert caught.value.field == "comments"
    with pytest.raises(JudgmentError, match="does not ask for comments"):
        judge((), ResponseRatings(comments=(Comment("Wrong."),)))


def test_each_kind_has_a_label() -> None:
    from annotation.logic.questions import KIND_LABELS

    assert set(KIND_LABELS) == set(QuestionKind)
