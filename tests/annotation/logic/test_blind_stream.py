from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from annotation.logic.blind_stream import SIDES, BlindStream
from annotation.logic.masking import LONGEST_CUE, mask, stable_length

WORDS = [
    "I am",
    "I",
    "'m",
    " GPT-4",
    " ",
    "an AI",
    " made by",
    " OpenAI",
    ". ",
    "!",
    "as",
    "was",
    "\n",
    "我是",
    "通义千问",
    " blue",
]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map("".join)


@given(texts, texts)
def test_what_is_stable_is_masked_alike_whatever_follows(before: str, after: str) -> None:
    shown = mask(before[: stable_length(before)])
    assert mask(before + after).startswith(shown)


def shown(stream: BlindStream) -> dict[str, str]:
    parts = dict.fromkeys(SIDES, "")
    for side, offset, text in stream.take():
        assert offset == 0
        parts[side] = text
    return parts


def test_a_fast_side_waits_for_the_slow_one() -> None:
    stream = BlindStream()
    stream.add("a", "one two three four five six seven")
    assert shown(stream) == {"a": "", "b": ""}
    stream.add("b", "x" * (LONGEST_CUE + 5))
    assert shown(stream) == {"a": "one t", "b": "xxxxx"}


def test_the_rest_is_shown_when_both_sides_have_ended() -> None:
    stream = BlindStream()
    stream.add("a", "A long answer, which goes on and on.")
    stream.add("b", "Short.")
    stream.end("b")
    assert shown(stream) == {"a": "A long", "b": "Short."}
    stream.add("a", " More.")
    assert stream.take() == []
    stream.end("a")
    assert [piece.text for piece in stream.take()] == [" answer, which goes on and on. More."]


def test_names_never_show() -> None:
    for name in (
        "I am GPT-4, made by OpenAI.",
        "Hello! As Claude, I cannot. My name is Zorblax, an AI assistant.",
    ):
        stream, seen = BlindStream(), ""
        stream.add("b", "x" * 100)
        stream.end("b")
        for character in name:
            stream.add("a", character)
            seen += "".join(piece.text for piece in stream.take() if piece.side == "a")
            assert not any(word in seen for word in ("GPT", "Open", "Claude", "Zorb"))
        stream.end("a")
        seen += "".join(piece.text for piece in stream.take() if piece.side == "a")
        assert seen == mask(name)


def test_a_reader_who_knows_the_models_sees_everything_at_once() -> None:
    stream = BlindStream(is_blind=False)
    stream.add("a", "I am GPT-4")
    assert shown(stream) == {"a": "I am GPT-4", "b": ""}


def test_a_side_that_is_written_anew_begins_at_its_start() -> None:
    stream = BlindStream()
    stream.add("a", "first")
    stream.end("a")
    stream.end("b")
    stream.take()
    stream.restart("a")
    stream.add("a", "second")
    stream.end("a")
    assert shown(stream) == {"a": "second", "b": ""}
