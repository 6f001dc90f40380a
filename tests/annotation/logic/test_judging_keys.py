"""The commands of the judging screens, the keys that an account may choose for them, and what the guide says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotation.logic import judging_keys
from annotation.logic.ranking import LETTERS

GUIDE = Path(__file__).parents[3] / "docs" / "annotating.md"


def test_the_default_keys_are_usable() -> None:
    assert judging_keys.problems(judging_keys.default_keys()) == {}


def test_no_command_has_a_key_that_means_an_answer_or_a_digit() -> None:
    assert not set(judging_keys.default_keys().values()) & {*LETTERS, *"0123456789"}


def test_only_what_differs_from_the_defaults_is_stored() -> None:
    keys = judging_keys.default_keys() | {"skip": "K"}
    assert judging_keys.changed(keys) == {"skip": "K"}
    assert judging_keys.keys_of({"skip": "K"}) == keys
    assert judging_keys.changed(judging_keys.default_keys()) == {}


def test_two_keys_can_be_exchanged() -> None:
    assert judging_keys.problems(judging_keys.default_keys() | {"skip": "U", "undo": "S"}) == {}


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "Skip has no key."),
        (None, "Skip has no key."),
        (7, "Skip has no key."),
        ("AB", "Skip: a key is one letter or sign."),
        ("\n", "Skip: a key is one letter or sign."),
        ("\x7f", "Skip: a key is one letter or sign."),
        (" ", "Skip: a key is one letter or sign."),
        ("k", "Skip: “k” is written K."),
        ("A", "Skip: “A” selects answer A. Choose a letter after I, or a sign."),
        ("I", "Skip: “I” selects answer I. Choose a letter after I, or a sign."),
        ("0", "Skip: “0” is a rank or a choice. Choose a letter after I, or a sign."),
        ("9", "Skip: “9” is a rank or a choice. Choose a letter after I, or a sign."),
        ("٣", "Skip: “٣” is a rank or a choice. Choose a letter after I, or a sign."),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(key: object, sentence: str) -> None:
    assert judging_keys.problems(judging_keys.default_keys() | {"skip": key}) == {"skip": sentence}


def test_a_conflict_names_both_commands() -> None:
    problems = judging_keys.problems(judging_keys.default_keys() | {"skip": "X"})
    assert problems == {"skip": "“X” is the key of both Expand and Skip. Choose another for one of them."}


@pytest.mark.parametrize("key", ["K", "J", "Ö", "Ж", "ß", "-", "+", "é".upper()])
def test_letters_after_the_answers_and_signs_can_be_chosen(key: str) -> None:
    assert judging_keys.problems(judging_keys.default_keys() | {"skip": key}) == {}


@pytest.mark.parametrize("stored", [None, [], "K", {"skip": "A"}, {"skip": "U"}, {"skip": None}])
def test_what_makes_no_sense_gives_the_defaults(stored: object) -> None:
    assert judging_keys.keys_of(stored) == judging_keys.default_keys()


def test_what_is_stored_of_a_command_that_no_longer_exists_is_ignored() -> None:
    assert judging_keys.keys_of({"dance": "K"}) == judging_keys.default_keys()


@pytest.mark.parametrize(("typed", "key"), [("k", "K"), ("K", "K"), ("ö", "Ö"), ("ß", "ß"), ("-", "-")])
def test_a_letter_is_stored_in_upper_case(typed: str, key: str) -> None:
    assert judging_keys.normalized(typed) == key


def test_the_list_of_keys_has_the_questions_that_the_project_asks() -> None:
    keys = judging_keys.default_keys() | {"safe": "J"}
    helps = [line.help for group in judging_keys.list_of_keys(keys, ()) for line in group]
    assert "mark it safe" not in helps
    assert "skip, with a reason" in helps
    lines = {line.help: line for group in judging_keys.list_of_keys(keys, ["safety"]) for line in group}
    assert lines["mark it safe"].keys == ("J",)
    assert "quality of the selected answer" not in lines


def test_the_guide_names_each_command_with_its_default_key() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    for command in judging_keys.COMMANDS.values():
        assert any(f"`{command.key}`" in row.split(" | ")[0] for row in rows), command.name
