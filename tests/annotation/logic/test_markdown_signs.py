"""Signs that cannot be seen, and the direction of what is written from right to left."""

from __future__ import annotations

import re
from html import unescape

import pytest

from annotation.logic import invisible
from annotation.logic.markdown import render, render_source

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


def names(html: str) -> list[str]:
    return re.findall(r'<span class="invisible" title="[^"]*">⟨([^⟩]*)⟩</span>', html)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc \u202edef x", ["RLO"]),
        ("a\u200bb `c\u202d`", ["ZWSP", "LRO"]),
        ("a\u2060b\u00adc\u180ed\ufeff", ["WJ", "SHY", "MVS", "BOM"]),
        ("\u115f\u1160\u3164\uffa0", ["HCF", "HJF", "HF", "HHF"]),
        ("red \x1b[31m\x07", ["ESC", "BEL"]),
        ("x\x85y\ufdd0z", ["U+0085", "U+FDD0"]),
        ("hi\U000e0068\U000e0069", ["TAG h", "TAG i"]),
        # embeddings and isolates that do not end, or do not begin, in their line
        ("a \u202b b", ["RLE"]),
        ("a \u2067שלום\nb\u2069", ["RLI", "PDI"]),
        ("a \u2067שלום\u202c", ["RLI", "PDF"]),
        # around nothing that is written from right to left it would only turn what is read
        ("if (\u2067admin\u2069)", ["RLI", "PDI"]),
        ("$x\u202ey$ and [l](https://a.example 't\u202et')", ["RLO"]),
    ],
)
def test_signs_that_cannot_be_seen_are_named(text: str, expected: list[str]) -> None:
    assert names(render(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "فارسی\u200cها",
        "क्\u200dष",
        "👩\u200d🔬",
        "a\u200e b\u200f",
        FLAG,
        "\u202bمرحبا\u202c",
        "\u2067שלום\u2069 and \u2066left\u2069 and \u2068x\u2069",
    ],
)
def test_signs_that_languages_and_emoji_need_stay(text: str) -> None:
    assert render(text) == f"<p>{text}</p>\n"


def test_a_name_cannot_be_written_as_a_mark() -> None:
    assert names(render("⟨RLO⟩ \ufdd28238\ufdd2")) == ["U+FDD2", "U+FDD2"]


def test_an_address_keeps_what_was_written() -> None:
    html = render("[l](https://a.example/\u202ex 'a\u202eb')")
    assert 'href="https://a.example/%E2%80%AEx" title="a⟨RLO⟩b"' in html


def test_very_many_are_named_without_marks() -> None:
    text = "\u202ea" * (invisible.MAX_SIGNS + 1)
    assert render(text) == render_source(text).join(("<p>", "</p>\n")) == f"<p>{'⟨RLO⟩a' * 5_001}</p>\n"


def test_the_source_has_every_character() -> None:
    text = "# a  <b>&amp;\\(x\\)\t\n\n  $y$ \u202b\u202e" + FLAG
    html = render_source(text)
    assert names(html) == ["RLE", "RLO"]
    assert unescape(re.sub(r"<[^>]*>", "", html)) == text.replace("\u202b", "⟨RLE⟩").replace(
        "\u202e", "⟨RLO⟩"
    )


def directions(text: str) -> list[tuple[str, str]]:
    return re.findall(r'<(ul|ol|blockquote|div)\b[^>]* dir="(\w+)"', render(text))


def test_each_list_quote_and_table_has_its_own_direction() -> None:
    text = "- مرحبا\n  - hello\n\n1. one\n\n> > שלום\n\n| ا | b |\n|---|---|\n| 1 | 2 |\n"
    assert directions(text) == [
        *(("ul", "rtl"), ("ul", "ltr"), ("ol", "ltr"), ("blockquote", "rtl"), ("blockquote", "rtl")),
        ("div", "rtl"),
    ]


def test_the_first_letter_decides() -> None:
    assert directions("- 1 <&> `مثال` abc") == [("ul", "rtl")]
    assert directions("- abc مثال") == [("ul", "ltr")]
    assert directions("- 12\n\nمثال") == [("ul", "auto")]
    assert directions("> - 5\n>\n> مثال") == [("blockquote", "rtl"), ("ul", "auto")]


def test_texts_that_are_written_from_left_to_right_have_none() -> None:
    assert "dir=" not in render("- one\n\n> two\n\n|a|\n|-|\n")
