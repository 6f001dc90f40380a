from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.logic import diff
from annotation.logic.diff import Line, Piece
from tests.annotation.logic.hostile_texts import TEXTS
from tests.patience import ends

OLD = "Prefer the helpful answer.\n\nTies are fine.\nBe kind.\nBe quick.\nBe calm.\nThe end."


def test_words_within_a_line_are_told_apart() -> None:
    old, new = diff.words("Prefer the helpful answer.", "Prefer the honest answer.")
    assert [piece.text for piece in old if piece.changed] == ["helpful"]
    assert [piece.text for piece in new if piece.changed] == ["honest"]


def test_lines_with_little_in_common_are_changed_whole() -> None:
    assert diff.words("One two three.", "Quite something else!") == (
        (Piece("One two three.", True),),
        (Piece("Quite something else!", True),),
    )


def test_what_came_what_went_and_what_stayed() -> None:
    found = diff.lines(OLD, OLD.replace("helpful", "honest") + "\nMore.", context=1)
    kinds = [(line.kind, line.old_number, line.new_number) for line in found]
    assert kinds == [
        ("old", 1, None),
        ("new", None, 1),
        ("same", 2, 2),
        ("gap", None, None),
        ("same", 7, 7),
        ("new", None, 8),
    ]
    assert found[3].skipped == 4
    assert found[-1].pieces == (Piece("More.", True),)


def test_what_is_left_out_at_the_end_is_counted() -> None:
    assert diff.lines("a\n" + OLD, OLD, context=0)[-1] == Line("gap", skipped=7)


def test_the_same_text_has_no_changes() -> None:
    assert diff.lines(OLD, OLD) == []


lines = st.lists(st.sampled_from(["a b", "a c", "", "d", "e f g h", "e f x h"]), max_size=12).map("\n".join)


@given(lines, lines)
def test_both_texts_can_be_read_from_it(old: str, new: str) -> None:
    found = diff.lines(old, new, context=100)

    def text_of(*kinds: str) -> list[str]:
        return ["".join(piece.text for piece in line.pieces) for line in found if line.kind in kinds]

    if found:
        assert text_of("same", "old") == old.splitlines()
        assert text_of("same", "new") == new.splitlines()
    else:
        assert old.splitlines() == new.splitlines()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_100_kilobytes_of_anything_are_compared_in_a_moment(text: str) -> None:
    with ends():
        diff.lines(text, text[::-1])
        diff.lines(text, text.replace("a", "b"))
        diff.lines(text[: len(text) // 2], text)


def test_a_long_change_is_one_change() -> None:
    old = [f"old {n}" for n in range(600)]
    found = diff.lines("\n".join(["same", *old, "end"]), "\n".join(["same", *old[::-1], "end"]))
    assert [line.kind for line in found] == ["same", *["old"] * 600, *["new"] * 600, "same"]
