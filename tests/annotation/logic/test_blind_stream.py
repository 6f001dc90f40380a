from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotation.logic import masking
from annotation.logic.blind_stream import SIDES, BlindStream
from annotation.logic.masking import LONGEST_CUE, GrowingText, mask, stable_length

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
    "?",
    "4",
    "-",
    "\u2019m ",
    "this is",
    " trained by",
    "我是",
    "通义千问",
    " blue",
]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map("".join)


@given(texts, texts)
def test_what_is_stable_is_masked_alike_whatever_follows(before: str, after: str) -> None:
    shown = mask(before[: stable_length(before)])
    assert mask(before + after).startswith(shown)


@pytest.mark.parametrize("most", [2, masking.MAX_CUES])
@given(pieces=st.lists(texts, max_size=8))
@example(pieces=["I am I am'm GPT-4. I am我是"])
@example(pieces=["asan AI made by OpenAI’m I am"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_growing_text_is_masked_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, most: int, pieces: list[str]
) -> None:
    monkeypatch.setattr(masking, "MAX_CUES", most)
    growing, whole = GrowingText(), ""
    for piece in pieces:
        growing.add(piece)
        whole += piece
        assert growing.visible_text() == mask(whole[: stable_length(whole)])


def test_a_growing_text_is_masked_as_the_whole_where_its_sentences_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masking, "MAX_SENTENCE", 20)
    growing, whole = GrowingText(), ""
    for character in "I am a machine and no other model than GPT-4. As GPT-4, I am done.":
        growing.add(character)
        whole += character
        assert growing.visible_text() == mask(whole[: stable_length(whole)])
    assert growing.visible_text().startswith("I am a machine and no other model than [model].")


def test_an_ended_sentence_is_masked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = masking._mask_sentence
    monkeypatch.setattr(masking, "_mask_sentence", lambda sentence: read.append(sentence) or real(sentence))
    growing = GrowingText()
    for character in "I am GPT-4. So what? I am blue. ":
        growing.add(character)
        growing.visible_text()
    assert [sentence for sentence in read if "am" in sentence] == ["I am GPT-4.", " I am blue."]


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
