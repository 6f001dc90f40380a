from __future__ import annotations

import pytest

from annotation.logic.similarity import distinct, near_identical
from tests.patience import ends

LONG = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(100))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Paris.", "Paris"),
        ("It is **Paris**, of course!", "it is paris – of course"),
        ("# Plan\n\n* one\n* two", "Plan\n- one\n- two"),
        ("ﬁne", "fine"),
        ("Wow!! Really!", "wow, really"),
        ("", " \n"),
        (LONG, LONG.replace("wordaa", "another")),
        (LONG, "Well, " + LONG),
        (LONG, LONG + " and so on it goes"),
    ],
)
def test_it_knows_the_same_said_twice(first: str, second: str) -> None:
    assert near_identical(first, second)
    assert near_identical(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Paris.", "Lyon."),
        ("It is Paris.", "It is Lyon."),
        ("a + b", "a - b"),
        ("if not x", "if x"),
        ("if (!x)", "if (x)"),
        ("if x!=y", "if x=y"),
        ("x ∈ A", "x ∉ A"),
        ("नमस्ते", "नमस्त"),
        ("", "Paris"),
        ("the dog bites the man", "the man bites the dog"),
        (f"{LONG} 42", f"{LONG} 43"),
        (LONG, LONG[: len(LONG) // 2]),
        (LONG, " ".join(reversed(LONG.split()))),
    ],
)
def test_it_leaves_apart_what_differs(first: str, second: str) -> None:
    assert not near_identical(first, second)


def test_long_texts_of_one_word_take_no_long_time() -> None:
    with ends():
        assert near_identical("a " * 200_000, "a " * 199_999)
        assert not near_identical("a " * 200_000, "b " * 200_000)


@pytest.mark.parametrize("text", ["word " * 20_000, "a\n" * 50_000, "\ufdfa" * 99_000, "1 " * 49_000])
def test_100_kilobytes_of_anything_are_compared_in_a_moment(text: str) -> None:
    with ends():
        distinct([f"{text}{n}" for n in range(9)])
