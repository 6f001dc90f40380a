"""What is searched for, and what is shown of a text that has it."""

from __future__ import annotations

import pytest

from annotation.logic.text_match import AFTER, BEFORE, MAX_TERMS, read_terms, snippet


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ('  "" " ', []),
        ("the Ferry the", ["the", "Ferry"]),
        ('"how  long" ferry', ["how long", "ferry"]),
        ('an "open quote', ["an", "open", "quote"]),
        ("a\0b", ["ab"]),
        (" ".join(f"w{n}" for n in range(20)), [f"w{n}" for n in range(MAX_TERMS)]),
    ],
)
def test_words_and_phrases(text: str, terms: list[str]) -> None:
    assert read_terms(text) == terms


def shown(text: str, *terms: str) -> str:
    return "".join(f"[{part.text}]" if part.is_match else part.text for part in snippet(text, list(terms)))


def test_each_match_is_marked_and_a_short_text_is_whole() -> None:
    assert shown("The ferry\n\nto Tessel: a FERRY.", "ferry", "tess") == "The [ferry] to [Tess]el: a [FERRY]."
    assert shown("a ferryman", "ferry", "ferryman") == "a [ferryman]"
    assert shown("1 + (2)", "(2)") == "1 + [(2)]"


def test_a_long_text_is_cut_at_words_around_its_first_match() -> None:
    text = "before " * 100 + "needle " + "after " * 100
    found = shown(text, "needle")
    assert found.startswith("…before ")
    assert found.endswith(" after…")
    assert "[needle]" in found
    assert len(found) < BEFORE + AFTER + 10


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    found = shown("x" * 1000 + "needle" + "y" * 1000, "needle")
    assert "[needle]" in found
    assert len(found) < BEFORE + AFTER + 10


def test_of_a_text_without_the_words_its_beginning_is_shown() -> None:
    assert shown("some text", "none") == "some text"
