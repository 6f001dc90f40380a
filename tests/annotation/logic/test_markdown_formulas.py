"""Formulas are found and kept as they were written, and no character of a text is lost."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.logic.markdown import render


def shown(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def formulas(text: str) -> list[tuple[str, str]]:
    found = re.findall(r'<code class="math (inline|display)">([^<]*)</code>', render(text))
    return [(kind, unescape(source)) for kind, source in found]


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("display", r"$$\int_0^1 x^2\,dx$$"),
        ("display", r"\[ a_1 \\[2pt] b*c*d < e \]"),
        ("display", r"\begin{align*} a &= b \\ c &= \frac{1}{2} \end{align*}"),
        ("display", r"\begin{cases} \begin{cases} 1 \end{cases} \end{cases}"),
        ("display", "\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}"),
        ("inline", r"\(a_1\)"),
        ("inline", r"\(f\\(x)\)"),
        ("inline", "$x$"),
        ("inline", "$a_1 + b_2 = c*d*e$"),
        ("inline", r"$\text{costs \$5}$"),
        ("inline", "$|x|$"),
        ("inline", "$10$"),
        ("inline", "$f(x)\n+ 1$"),
    ],
)
def test_formulas_keep_their_source(kind: str, formula: str) -> None:
    for before, after in (
        ("", ""),
        ("Take ", ", then."),
        ("- **", "**"),
        ("当", "时"),
        ("(", ")"),
        ("$5 or ", " $6"),
    ):
        assert formulas(before + formula + after) == [(kind, formula)], (before, after)


def test_a_formula_on_lines_of_its_own_may_have_blank_ones() -> None:
    assert formulas("So\n$$\na\n\n= b\n$$\nholds") == [("display", "$$\na\n\n= b\n$$")]


@pytest.mark.parametrize(
    "text",
    [
        "It is $5 and $10.",
        "It costs $3 to $4, US$5 or US$6, or $5-$10.",
        "$1,000 vs. $2,000 (5$ and 6$)",
        "It costs $5, or 10$ at most.",
        "I paid $20 for 3$ things",
        "echo $HOME/bin:$PATH ${A}/${B} $(pwd)/$(ls)",
        "echo $$ > pid; kill $$",
        "a $$ b\n\nc $$ d",
        "$ x $",
        r"\\(x\\) and \[1\](https://a.example)",
        r"\$x\$",
        "$$$$ and $$$x$$$",
        r"\begin{align} without an end",
        "$x\n\ny$",
    ],
)
def test_prices_and_shells_are_text(text: str) -> None:
    assert formulas(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "`$x$` and `` a`$y$ ``",
        "```\n$x$\n\\(y\\)\n```",
        "~~~sh\necho $x$\n~~~",
        "- ```\n  $x$\n  ```",
        "a\n\n    $x$ \\[y\\]",
        "```\n$x$ is not closed",
    ],
)
def test_code_has_no_formulas(text: str) -> None:
    assert formulas(text) == []
    code = re.findall(r"\$\w\$|\\.\w\\.", text)
    assert all(part in shown(render(text)) for part in code)


def test_code_ends_where_it_ends() -> None:
    assert formulas("`$a` costs `$b` but $x$\n\n```\n$y\n```\n$z$ \\` $v$ `") == [
        *(("inline", "$x$"), ("inline", "$z$"), ("inline", "$v$")),
    ]


def test_a_quoted_formula_loses_the_signs_of_the_quote() -> None:
    assert formulas("> $$\n> x > y\n> $$\n") == [("display", "$$\nx > y\n$$")]
    assert formulas("> $$\n> x\n$$\n") == []


def test_in_addresses_and_titles_formulas_are_text() -> None:
    html = render("[a](https://a.example/$x$/b 'the $y_1$') ![$z$](https://a.example/$x^2$.png)")
    assert 'href="https://a.example/$x$/b" title="the $y_1$"' in html
    assert 'href="https://a.example/$x%5E2$.png"' in html
    assert html.count('class="math inline">$z$<') == html.count("math") == 1


def test_a_formula_in_a_table_does_not_split_its_cell() -> None:
    assert render("| a | b |\n|---|---|\n| $|x|$ | 2 |").count("<td>") == 2


@pytest.mark.parametrize(
    "attack", ["<img src=x onerror=alert(1)>", "</code><script>", "\ufdd10\ufdd1", "\ufdd263\ufdd2"]
)
def test_a_formula_cannot_be_anything_else(attack: str) -> None:
    html = render(f"$x{attack}y$")
    assert set(re.findall(r"<(\w+)", html)) <= {"p", "code", "span"}
    assert shown(html).strip("\n").startswith("$x")


# What is written, and how it reads. Each stands between spaces, or in a paragraph of its own.
PIECES = [
    (r"$$\int_0^1 x^2\,dx$$", None),
    (r"\(a_1 * b_2 * c\)", None),
    (r"\[ \begin{matrix} a & b \\ c & d \end{matrix} \]", None),
    (r"\begin{align} a_i &= b_i \\ &< c \end{align}", None),
    ("$x_1$", None),
    (r"$\{a, b\}$", None),
    ("$5 and $10", None),
    ("US$7", None),
    ("snake_case_name", None),
    (r"C:\dir\name", None),
    ("a * b < c > d & e", None),
    ("<b>bold</b>", None),
    ("<!-- hidden -->", None),
    ("`\\(a\\) $b$ <i>`", r"\(a\) $b$ <i>"),
    ("**strong**", "strong"),
    ("\n\n| $|t|$ | b\\_c |\n|---|--:|\n| 1 | $ |\n\n", "$|t|$ b_c 1 $"),
    ("\n\n```sh title=x\necho $HOME \\( $PATH$\n```\n\n", "echo $HOME \\( $PATH$"),
    ("\n\n- item $y^2$\n", "item $y^2$"),
    ("\n\n> quote \\[z\\]\n\n", r"quote \[z\]"),
    ("\n\n[9]: https://a.example/source\n\n", "[9]: https://a.example/source"),
    ("مثال\u200c", None),
    ("cost $", None),
    ("\\", None),
    ("`", None),
    ("100%", None),
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from([" ", "\n", "\n\n"]))
def test_nothing_that_was_written_is_lost(pieces: list[tuple[str, str | None]], between: str) -> None:
    text = between.join(f"x {source} y" for source, _ in pieces)
    signs = re.sub(r"\s|[`*|>#\\_-]", "", shown(render(text)))
    at = 0
    for source, read in pieces:
        for word in re.sub(r"[`*|>#\\_-]", " ", read or source).split():
            at = signs.find(word, at)
            assert at >= 0, (word, text)


SIGNS = [*"abc \n$\\()[]{}_^`&|*<>~-", "$$", "\\(", "\\)", "\\begin{align}", "\\end{align}"]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(SIGNS), max_size=40))
def test_letters_are_never_lost(signs: list[str]) -> None:
    html = render("".join(signs))
    addresses = "".join(re.findall(r'href="([^"]*)"', html))
    letters = re.findall("[a-z]", shown(html) + addresses.replace("&amp;", "").replace("%5B", ""))
    assert sorted(letters) == sorted(re.findall("[a-z]", "".join(signs)))
