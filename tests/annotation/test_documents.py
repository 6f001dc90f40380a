"""Help: each document is a page, and each page leads to one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.urls import reverse

from annotation import navigation
from annotation.documents import DOCUMENTS, SECTIONS, document
from annotation.logic.documents import render_document
from annotation.navigation import GROUPS, HELP, HELP_ELSEWHERE, OVERVIEW
from tests.base import PalateTestCase

FILES = {path.stem for path in (Path(__file__).parents[2] / "docs").glob("[a-z]*.md")}
TARGETS = {page.help for page in (OVERVIEW, *(page for group in GROUPS for page in group.pages))}
TARGETS |= {*HELP.values(), HELP_ELSEWHERE}


def test_every_document_is_in_the_list_once() -> None:
    names = [name for _, names in SECTIONS for name in names]
    assert len(names) == len(set(names))
    assert set(names) == FILES == set(DOCUMENTS)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_what_a_page_calls_its_help_is_there(target: str) -> None:
    name, _, heading = target.partition("#")
    assert name in FILES
    assert not heading or f' id="{heading}"' in document(name).html


@pytest.mark.parametrize("name", sorted(FILES))
def test_links_of_documents_lead_somewhere(name: str) -> None:
    html = document(name).html
    assert document(name).title
    assert "<h1" not in html
    assert "&lt;picture" not in html
    for address in re.findall('(?:src|srcset)="([^"]*)"', html):
        assert finders.find(address.removeprefix(settings.STATIC_URL)), address
    for href in re.findall('href="([^"]*)"', html):
        path, _, heading = href.partition("#")
        if not path.startswith(("http:", "https:")):
            other = path.removeprefix("/help/").removesuffix("/") or name
            assert other in FILES, href
            assert not heading or f' id="{heading}"' in document(other).html, href


def test_a_document_is_html_with_ids_and_no_links_that_keys_do_not_expect() -> None:
    source = (
        '# The *title*\n\n![a "picture"](pictures/x-light.png)\n\n![a plot](../benchmarks/y.svg)\n\n'
        "One\nline, [a guide](a.md#b-c), [a file](../x/y.py).\n\n"
        '## Two <b> & `code`\n\n<script>alert("x")</script>\n\n| a |\n|---|\n| b |\n'
    )
    shown = render_document(
        source, lambda name: f"/help/{name}/" if name == "a" else "", "/pictures/{}".format
    )
    assert shown.title == "The title"
    assert [heading.text for heading in shown.headings] == ["Two <b> & code"]
    assert f'<h2 id="{shown.headings[0].id}">' in shown.html
    assert '<p>One\nline, <a href="/help/a/#b-c">a guide</a>, a file.</p>' in shown.html
    picture = '<source media="(prefers-color-scheme: dark)" srcset="/pictures/x-dark.png"><img src="/pictures/x-light.png"'
    assert f'{picture} alt="a &quot;picture&quot;" loading="lazy">' in shown.html
    assert "y.svg" not in shown.html
    assert "<script" not in shown.html
    assert "aria-hidden" not in shown.html
    assert "<br" not in shown.html
    assert '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>' in shown.html


def test_a_picture_of_two_themes_is_one_picture() -> None:
    source = (
        '# T\n\n<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="pictures/a-dark.png">\n'
        '  <img alt="A page" src="pictures/a-light.png">\n</picture>\n'
    )
    html = render_document(source, str, str).html
    assert html.count("<picture>") == html.count("<img") == 1
    assert "&lt;" not in html


class HelpTests(PalateTestCase):
    def test_it_is_for_everybody_who_is_signed_in(self) -> None:
        path = reverse("help", args=["loop"])
        assert self.client.get(path).status_code == 302
        for user in (self.alice, self.bob, self.charlie):
            self.sign_in(user)
            self.assertContains(self.client.get(path), "The loop, for a lead")
        assert self.client.post(path).status_code == 405

    def test_there_is_none_of_another_name(self) -> None:
        self.sign_in(self.bob)
        for name in ("module_tree", "cluster-slurm", "readme"):
            assert self.client.get(reverse("help", args=[name])).status_code == 404
        assert self.client.get("/help/..%2Fconfig/").status_code == 404

    def test_a_page_leads_to_its_own_document(self) -> None:
        self.sign_in(self.alice)
        for name, target in (("webhooks", "/help/api/#webhooks"), ("snapshots", "/help/datasets/#snapshots")):
            page = self.client.get(reverse(name, args=[self.project.slug])).content.decode()
            assert f'href="{target}" aria-label="Help on this page"' in page
        assert navigation.help_path("my-work") == "/help/annotating/#your-work-counted"
        assert navigation.help_path(None) == "/help/annotating/"
