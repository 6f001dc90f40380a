from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from annotation.logic import diff
from annotation.logic.diff import Line, Piece

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
