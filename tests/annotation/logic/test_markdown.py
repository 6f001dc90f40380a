from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.logic import markdown
from annotation.logic.markdown import render
from tests.annotation.logic.hostile_texts import TEXTS
from tests.patience import ends

ATTACKS = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    '<img src=x onerror="alert(1)">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    '<iframe src="javascript:alert(1)"></iframe>',
    '<iframe srcdoc="<script>alert(1)</script>">',
    '<object data="javascript:alert(1)"></object>',
    '<form action="javascript:alert(1)"><button>go</button></form>',
    '<input autofocus onfocus="alert(1)">',
    '<div style="background:url(javascript:alert(1))">x</div>',
    '<style>@import "//evil.example";</style>',
    '<base href="//evil.example">',
    '<meta http-equiv="refresh" content="0;url=//evil.example">',
    '<a href="https://a.example" onclick="alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](//evil.example 'a\" onmouseover=\"alert(1)')",
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](https://a.example/p.png)',
    '![x](https://a.example/"onerror="alert(1))',
    "![<script>alert(1)</script>](https://a.example/p.png)",
    "![a](https://a.example/p.png '\"><script>alert(1)</script>')",
    "[![x](https://a.example/p.png)](javascript:alert(1))",
    "<javascript:alert(1)>",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "```python onload=alert(1)\nprint(1)\n```",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "<table><tr><td>x</td></tr></table>",
    "</div></article></main><h1>outside</h1>",
    "<!-- --><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "\u202e<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]
ALLOWED_TAG = re.compile(
    r"</?(a|blockquote|br|code|del|div|em|h[1-6]|hr|li|ol|p|pre|s|span|strong|table|tbody|td|th|thead|tr|ul)\b"
)


class TestSanitising:
    @pytest.mark.parametrize("text", ATTACKS)
    def test_nothing_in_a_text_can_run(self, text: str) -> None:
        html = render(text)
        for tag in re.findall(r"<[^>]*>", html):
            assert ALLOWED_TAG.match(tag), tag
            attributes = re.findall(r'\s([\w:-]+)=("[^"]*")', tag)
            assert re.sub(r'\s[\w:-]+="[^"]*"', "", tag).count("=") == 0, tag
            for name, value in attributes:
                assert name in {
                    *(
                        "href",
                        "title",
                        "rel",
                        "class",
                        "start",
                        "tabindex",
                        "role",
                        "aria-label",
                        "dir",
                        "align",
                    ),
                }, tag
                assert name != "href" or re.match(r'"(https?:|mailto:|/|#|%|[\w.-]*")', value), tag

    def test_tags_in_a_text_are_shown_as_text(self) -> None:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in render("<script>alert(1)</script>")

    def test_a_link_gives_nothing_away(self) -> None:
        html = render("[x](https://a.example)")
        assert 'href="https://a.example"' in html
        assert 'rel="noopener noreferrer nofollow"' in html

    def test_a_picture_is_a_link_and_is_not_fetched(self) -> None:
        html = render("Look: ![a cat](https://a.example/cat.png) and ![](https://a.example/dog.png)")
        assert "<img" not in html
        assert re.search(r'<a class="image" href="https://a.example/cat.png"[^>]*>a cat</a>', html)
        assert re.search(
            r'<a class="image" href="https://a.example/dog.png"[^>]*>https://a.example/dog.png</a>', html
        )


class TestRendering:
    def test_code_keeps_its_language_for_the_browser(self) -> None:
        html = render("```python\ndef f() -> int:\n    return 1\n```")
        assert '<code class="language-python">def f() -&gt; int:\n' in html

    def test_a_code_block_shows_what_stands_beside_its_fence(self) -> None:
        assert '<pre><span class="language">mermaid</span><code' in render("```mermaid\ngraph TD\n```")
        for _ in range(20):  # the renderer writes the attributes in any order
            assert '<span class="language">py title="x &lt; y"</span>' in render(
                '```py  title="x < y"\n1\n```'
            )
        assert "language" not in render("```\n1\n```")

    def test_code_of_an_unknown_language_is_shown_plainly(self) -> None:
        assert "a &lt; b" in render("```klingon\na < b\n```")

    def test_a_wide_table_scrolls_in_its_own_box(self) -> None:
        html = render("| a | b |\n|---|---|\n| 1 | 2 |")
        assert html.count('<div class="scroll"') == html.count("</table></div>") == 1
        assert 'tabindex="0"' in html

    def test_columns_keep_their_alignment(self) -> None:
        html = render("| a | b | c | d |\n|:--|--:|:-:|---|\n| 1 | 2 | 3 | 4 |")
        assert (
            re.findall(r"<t[hd]( align=\"\w+\")?>", html)
            == [
                *(' align="left"', ' align="right"', ' align="center"', ""),
            ]
            * 2
        )

    def test_sources_to_which_no_link_leads_are_shown(self) -> None:
        html = render("See [one][1].\n\n[1]: https://a.example\n[2]: https://b.example/x 'Title'\n")
        assert '<a href="https://a.example"' in html
        assert "[2]: https://b.example/x 'Title'" in html
        assert "\\" not in render("```\n[1]: https://a.example\n```")

    def test_a_table_that_is_only_quoted_makes_no_box(self) -> None:
        assert "scroll" not in render("`<table>`")

    def test_a_line_break_stays_one(self) -> None:
        assert "a<br>\nb" in render("a\nb")

    @pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
    def test_100_kilobytes_of_anything_are_rendered_in_a_moment(self, text: str) -> None:
        with ends():
            html = render(text)
        assert len(html) < 20 * len(text) + 1000

    def test_what_is_nested_too_deep_is_shown_as_it_is(self) -> None:
        assert render("> " * 99 + "deep").count("<blockquote>") == 99
        assert render("> " * 101 + "a < b") == "<p>" + "&gt; " * 101 + "a &lt; b</p>\n"

    def test_a_table_of_very_many_cells_is_text(self) -> None:
        assert "<table>" in render("a|b\n-|-\n" + "a|b\n" * 1000)
        assert "<table>" not in render("x|" * 300 + "\n" + "-|" * 300 + "\n" + "x\n" * 1000)


LETTERS = st.sampled_from(list("abcZé190   .,;:?'\"()%$€/+=–—‘’“”…-\n\n"))
SIGNS = st.sampled_from(list("ab 1.\n*_`<>&[]!~|#\\\t\r\u2028ßमрªǅ٣)("))


@settings(max_examples=1500)
@given(st.text(LETTERS, max_size=60) | st.text(SIGNS, max_size=30))
def test_a_plain_text_comes_out_as_the_renderer_would_have_it(text: str) -> None:
    text = "A" + text
    if markdown.is_plain(text):
        assert markdown.render(text) == markdown._render(text)


@pytest.mark.parametrize(
    "text", ["Why?", "One line,\nand one more.\n\n\nA “second” paragraph: 5% (or so)…\n"]
)
def test_plain_texts_are_known(text: str) -> None:
    assert markdown.is_plain(text)
    assert markdown.render(text) == markdown._render(text)


@pytest.mark.parametrize(
    "text", ["", "*a*", "1. a", "a\n---", "a\n===", "a\n - b", "a_b_", "a  \nb", "a\n    b", "a & b", "a|b"]
)
def test_what_may_be_markdown_is_not_taken_for_plain(text: str) -> None:
    assert not markdown.is_plain(text)
