from __future__ import annotations

import unittest
from typing import Any

import pytest

from annotation.logic.principles import (
    STARTING_PRINCIPLES,
    PrincipleError,
    as_text,
    read_principles,
    stored_principles,
)

KIND: dict[str, Any] = {"key": "kind", "compare": "Which answer is kinder?"}
WARM: dict[str, Any] = {"key": "warm", "comment": {"start": "That was", "good": "warm", "bad": "rude"}}


class PrinciplesTests(unittest.TestCase):
    def test_they_are_stored_as_they_are_read(self) -> None:
        full = {
            "key": "kind-2",
            "tag": "harmful",
            "compare": " Which answer is kinder? ",
            "critique": "Where is it rude?",
            "revise": "Be kind.",
            "comment": {"start": "That was", "good": "warm", "bad": "rude", "also": "complete"},
        }
        read = read_principles([full, KIND | {"comment": None}, WARM])
        data = [principle.as_data() for principle in read]
        assert data[0] == full | {"compare": "Which answer is kinder?"}
        assert data[1] == {"tag": "", "critique": "", "revise": ""} | KIND
        assert data[2]["comment"]["also"] == ""
        assert read_principles(data) == stored_principles(data) == read

    def test_what_is_wrong_is_named_by_principle_and_field(self) -> None:
        comment = WARM["comment"]
        for value, sentence in (
            ({}, "The principles are not a list."),
            ([], "A constitution needs at least one principle."),
            ([KIND | {"key": f"k{n}"} for n in range(51)], "at most 50 principles; there are 51."),
            ([KIND, 3], "Principle 2: This is not an object."),
            ([{"compare": "Which?"}], "Principle 1, key: Give a key of 1 to 40"),
            ([KIND | {"key": "Kind!"}], "Principle 1, key: Give a key of 1 to 40"),
            ([KIND | {"key": "k" * 41}], "Principle 1, key: This is a text of at most 40"),
            ([KIND, KIND], "Principle 2 (kind), key: This key is taken"),
            ([{"key": "kind"}], "Principle 1 (kind), compare: Write the question"),
            (
                [KIND | {"compare": "x" * 2001}],
                "Principle 1 (kind), compare: This is a text of at most 2,000",
            ),
            ([KIND | {"critique": 5}], "Principle 1 (kind), critique: This is a text"),
            ([KIND | {"revise": "\0"}], "Principle 1 (kind), revise: This text holds a null byte."),
            ([KIND | {"tag": "t" * 61}], "Principle 1 (kind), tag: This is a text of at most 60"),
            ([KIND | {"weight": 2}], "Principle 1 (kind), weight: There is no field 'weight'."),
            ([KIND | {"comment": "warm"}], "Principle 1 (kind), comment: This is not an object."),
            ([WARM | {"comment": comment | {"bad": ""}}], "Principle 1 (warm), comment.bad: A comment needs"),
            ([WARM | {"comment": comment | {"worse": "x"}}], "comment.worse: There is no field"),
            ([WARM | {"comment": comment | {"also": "warm"}}], "comment: The words of a comment"),
            (
                [WARM | {"comment": comment | {"good": "g" * 41}}],
                "comment.good: This is a text of at most 40",
            ),
        ):
            with self.subTest(sentence):
                with pytest.raises(PrincipleError) as caught:
                    read_principles(value)
                assert sentence in caught.value.located, caught.value.located

    def test_the_starting_ones_can_be_saved(self) -> None:
        assert read_principles([one.as_data() for one in STARTING_PRINCIPLES]) == list(STARTING_PRINCIPLES)

    def test_as_text_each_field_is_a_line(self) -> None:
        assert as_text(read_principles([KIND, WARM])) == (
            "key: kind\ncompare: Which answer is kinder?\n\n"
            "key: warm\ncomment start: That was\ncomment good: warm\ncomment bad: rude"
        )
