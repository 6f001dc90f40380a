"""What annotators see of a text: formulas, its source, pictures, tables, and what is written from right to left."""

from __future__ import annotations

import struct
import zlib

import pytest
from django.urls import reverse
from playwright.sync_api import Locator, Page, Route, expect

from annotation.models import Project
from tests import builders
from tests.browser.judging import Cast, NewPage, SignIn, cast, url

__all__ = ["cast"]

FORMULAS = r"""Let \(a_1 \le b^2\) and $x$; it costs $5 or $10.

$$\int_0^1 x^2\,dx = \frac{1}{3}$$

\begin{align*}
f(x) &= (x+1)^2 \\
     &= x^2 + 2x + 1
\end{align*}

\[ \boxed{42} \color{red}{y} \tag{1} \] and $\frac{a$ and \(\unknown{x}\)"""
HOSTILE = [
    "$$" + "{" * 10_000 + "x" + "}" * 10_000 + "$$",
    "$$" + r"\sqrt{" * 1_500 + "x" + "}" * 1_500 + "$$",
    r"$$\def\a{\b\b}\def\b{\c\c}\def\c{\d\d}\def\d{\a\a}\a$$",
    r"$$\def\a{" + "x" * 8_000 + r"}" + r"\a" * 300 + "$$",
    "$$" + "x+" * 20_000 + "y$$",
    r"\(\href{javascript:alert(1)}{x}\) \(\htmlStyle{color:red}{x}\) \(\includegraphics{https://a.example/x.png}\)",
]
RIGHT_TO_LEFT = """1. البند الأول
2. البند الثاني
   - متداخل
   - English

> اقتباس

| الاسم | القيمة |
|---|---|
| واحد | اثنان |

- English list
- מילים"""
WIDE = "| a | b |\n|--:|---|\n| 1 | " + "wide " * 60 + "|"


def project_of(cast: Cast, *answers: str, prompt: str = "Q?", **fields: object) -> Project:
    project = cast.project(k=len(answers), **fields)
    builders.imported(project, {"prompt": prompt, "responses": list(answers)})
    return project


def answer(page: Page, text: str) -> Locator:
    return page.locator(".answer", has=page.get_by_text(text, exact=False)).first


def copied(page: Page, selector: str) -> str:
    """What copying an element puts on the clipboard as text."""
    return page.evaluate(
        """(selector) => {
            document.getSelection().selectAllChildren(document.querySelector(selector));
            const event = new ClipboardEvent("copy", { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
            document.activeElement.dispatchEvent(event);
            return event.clipboardData.getData("text/plain");
        }""",
        selector,
    )


def test_formulas_are_typeset(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, FORMULAS, "Other", prompt="Solve $y^2=4$.")))
    box = answer(page, "it costs")
    expect(box.locator("span.math > math")).to_have_count(5)
    expect(box.locator("math[display=block]")).to_have_count(3)
    expect(box.locator("mfrac")).to_have_count(1)
    expect(box).to_contain_text("it costs $5 or $10.")
    # what is no formula is shown as it was written
    expect(box.locator("code.math[data-math=plain]")).to_have_text([r"$\frac{a$", r"\(\unknown{x}\)"])
    expect(page.locator(".conversation msup")).to_have_count(1)
    assert page.locator(".math [style]").count() == 0
    # a screen reader's source, and what is copied
    expect(box.locator("annotation").first).to_have_text(r"a_1 \le b^2")
    text = copied(page, f"[data-letter={box.get_attribute('data-letter')}] .prose")
    assert r"Let \(a_1 \le b^2\) and $x$; it costs $5 or $10." in text
    assert "$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$\n" in text
    page.keyboard.press("w")
    expect(page.locator("#diff")).to_contain_text(r"\int_0^1 x^2\,dx")
    expect(box.locator("math")).to_have_count(5)


def test_formulas_can_be_read_before_scripts_run(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, FORMULAS, "Other")))
    expect(page.locator("code.math.display").first).to_have_text(r"$$\int_0^1 x^2\,dx = \frac{1}{3}$$")
    expect(page.locator(".source-toggle").first).to_be_hidden()


def test_hostile_formulas_stay_text_and_freeze_nothing(
    new_page: NewPage, sign_in: SignIn, cast: Cast
) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, *HOSTILE, "and $x$")))
    page.keyboard.press("1")  # the page does what it is asked meanwhile
    expect(page.locator(".chip")).to_have_count(7)
    expect(page.locator("code.math[data-math=pending], code.math:not([data-math])")).to_have_count(0)
    for text in HOSTILE[:5]:
        expect(page.locator("code.math[data-math=plain]", has_text=text[:200]).first).to_have_text(text)
    assert page.locator(".prose :is([href^=javascript], img, script)").count() == 0


def test_hundreds_of_formulas_are_typeset(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    many = "\n\n".join(rf"Line {n}: $x_{{{n}}} + \frac{{a}}{{{n}}}$ and \(y^{n}\)." for n in range(200))
    page.goto(url(project_of(cast, many, "Other")))
    expect(page.locator("span.math > math")).to_have_count(400)


def test_a_formula_that_takes_too_long_stays_as_it_was_written(
    new_page: NewPage, sign_in: SignIn, cast: Cast
) -> None:
    page = new_page()
    endless = "onmessage = () => { while (true); };"
    page.route(
        "**/math-worker*.js", lambda route: route.fulfill(content_type="text/javascript", body=endless)
    )
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, "See $x$ and $y$", "Other")))
    expect(page.locator("code.math[data-math=plain]")).to_have_text(["$x$", "$y$"])


def test_the_source_shows_every_character(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    written = "I am GPT-4.\n\n\n**bold**   \\(x\\)\ttab\u200b"
    project = project_of(cast, written, "Other", prompt="A *question*")
    page.goto(url(project))
    box = answer(page, "bold")
    box.get_by_role("button", name="Source of answer").click()
    source = box.locator(".source")
    expect(source).to_have_text("I am [model].\n\n\n**bold**   \\(x\\)\ttab⟨ZWSP⟩")
    assert source.evaluate("(element) => getComputedStyle(element).whiteSpace") == "pre-wrap"
    assert (
        source.evaluate("(element) => element.innerText")
        == "I am [model].\n\n\n**bold**   \\(x\\)\ttab⟨ZWSP⟩"
    )
    expect(box.locator(".prose")).to_be_hidden()
    expect(box.get_by_role("button", name="Rendered of answer")).to_be_visible()
    letter = box.get_attribute("data-letter") or ""
    page.keyboard.press(letter)
    page.keyboard.press("v")
    expect(source).to_be_hidden()
    expect(box.locator("strong")).to_have_text("bold")
    page.keyboard.press("v")
    expect(source).to_be_visible()
    page.locator(".conversation .source-toggle").focus()
    page.keyboard.press("v")
    expect(page.locator(".conversation .source")).to_have_text("A *question*")


def test_without_a_connection_the_rendered_text_stays(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, "**one**", "two")))
    page.route("**/work/source/", lambda route: route.abort())
    page.keyboard.press("v")
    expect(page.locator(".toast")).to_contain_text("The source cannot be loaded now")
    expect(page.locator(".answer .prose").first).to_be_visible()


def test_ones_judgments_and_items_have_sources_too(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    project = project_of(cast, "**one**", "**two**", "**three**")
    judgment = builders.judgment(project, cast.bob)
    for user, path in (
        (cast.bob, reverse("my-judgment", args=[judgment.pk])),
        (cast.alice, reverse("item", args=[project.slug, judgment.item_id])),
    ):
        sign_in(page, user)
        page.goto(path)
        box = answer(page, "three")
        box.get_by_role("button", name="Source of answer").click()
        expect(box.locator(".source")).to_have_text("**three**")


def png() -> bytes:
    """A grey picture of 2 by 2."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"\0\x80\x80" * 2)
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_pictures_are_links(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, "![a cat](https://pictures.example/cat.png)", "Other")))
    expect(page.locator(".prose a.image")).to_have_text("a cat")
    assert page.locator(".prose img").count() == 0


def test_pictures_of_their_own_sites(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    headers: list[dict[str, str]] = []

    def pictures(route: Route) -> None:
        headers.append(route.request.all_headers())
        if "cat" in route.request.url:
            route.fulfill(content_type="image/png", body=png())
        else:
            route.abort()

    page.route("https://pictures.example/**", pictures)
    sign_in(page, cast.bob)
    cat, dog = (f"![a {name}](https://pictures.example/{name}.png)" for name in ("cat", "dog"))
    page.goto(url(project_of(cast, cat, dog, "Other", images="shown")))
    image = page.get_by_role("img", name="a cat")
    expect(image).to_be_visible()
    page.wait_for_function("(image) => image.naturalWidth === 2", arg=image.element_handle())
    expect(answer(page, "a dog")).to_contain_text(
        "a dog https://pictures.example/dog.png (Not shown. Your browser could not load it from pictures.example.)"
    )
    assert headers
    assert not any("referer" in sent or "cookie" in sent for sent in headers)
    page.keyboard.press("1")
    expect(page.locator(".chip")).to_have_count(3)


def test_a_refused_picture_says_why(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page()
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, "![a cat](http://127.0.0.1/cat.png)", "Other", images="proxied")))
    expect(answer(page, "a cat")).to_contain_text(
        "a cat http://127.0.0.1/cat.png (Not shown. 127.0.0.1 is in a private network"
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_written_from_right_to_left_is_mirrored(
    new_page: NewPage, sign_in: SignIn, cast: Cast, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, RIGHT_TO_LEFT, WIDE)))
    box = answer(page, "البند")
    directions = "(elements) => elements.map((element) => getComputedStyle(element).direction)"
    assert box.locator("ol, ul").evaluate_all(directions) == ["rtl", "rtl", "ltr"]
    assert box.locator("blockquote").evaluate(
        "(quote) => [getComputedStyle(quote).borderRightWidth, getComputedStyle(quote).borderLeftWidth]"
    ) == ["3px", "0px"]
    first, second = (box.locator("tr").first.locator("th").nth(n).bounding_box() for n in (0, 1))
    assert first
    assert second
    assert first["x"] > second["x"]
    assert (
        box.locator("ol > li").first.evaluate(
            "(item) => parseFloat(getComputedStyle(item.parentElement).paddingRight) > 0 && getComputedStyle(item).textAlign"
        )
        == "right"
    )


def test_a_wide_table_scrolls_in_its_box(new_page: NewPage, sign_in: SignIn, cast: Cast) -> None:
    page = new_page(viewport={"width": 390, "height": 844})
    sign_in(page, cast.bob)
    page.goto(url(project_of(cast, WIDE, "Other")))
    box = page.locator(".scroll")
    assert box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("td").first.evaluate("(cell) => getComputedStyle(cell).textAlign") == "right"
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(box) => box.scrollLeft > 0", arg=box.element_handle())
