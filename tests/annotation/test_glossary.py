"""The glossary: one text for the document and for the buttons of the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template
from django.utils.html import escape

from annotation.documents import document
from annotation.logic.glossary import GLOSSARY
from training.rounds.gate_thresholds import EXPLAINED

TEMPLATES = Path(settings.BASE_DIR, "templates")


def rendered(name: str) -> str:
    return Template('{% load glossary %}{% explain "' + name + '" %}').render(Context())


def test_the_document_has_each_word_with_the_text_that_pages_show() -> None:
    source = Path(settings.BASE_DIR, "docs", "glossary.md").read_text(encoding="utf-8")
    sections = [section.strip().split("\n\n") for section in source.split("\n## ")[1:]]
    assert sections == [[entry.word, entry.text] for entry in GLOSSARY.values()]


@pytest.mark.parametrize("name", sorted(GLOSSARY))
def test_a_button_shows_the_text_and_leads_to_the_document(name: str) -> None:
    shown = rendered(name)
    assert escape(GLOSSARY[name].text) in shown
    assert f'href="/help/glossary/#{name}"' in shown
    assert f' id="{name}"' in document("glossary").html
    (target,) = re.findall('popovertarget="([^"]+)"', shown)
    assert f'id="{target}"' in shown
    assert target not in rendered(name)  # twice on a page, they are two


def test_each_word_is_explained_on_some_page() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    used = set(re.findall(r'{% explain "([^"]+)" %}|word="([^"]+)"', texts))
    assert {one or other for one, other in used} | set(EXPLAINED.values()) == set(GLOSSARY)
