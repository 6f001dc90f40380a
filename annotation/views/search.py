"""Search page: prompts, answers and annotators' reasons that contain some words."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.analytics.text_search import KINDS, search_texts
from annotation.logic.text_match import MAX_CHARS, read_terms

PAGE = 20
PREVIEW = 5
"""Hits of each kind where all are searched."""
MAX_DIGITS = 18
"""Of an id."""


@login_required
@require_GET
def search(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    text = " ".join(request.GET.get("q", "").replace("\0", "").split())[:MAX_CHARS]
    terms = read_terms(text)
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else ""
    before = _id(request.GET) if kind else None
    asked = [kind] if kind else list(KINDS)
    found = [
        (
            name,
            KINDS[name].title,
            search_texts(me.project, name, terms, limit=PAGE if kind else PREVIEW, before=before),
        )
        for name in asked
        if terms
    ]
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "text": text,
        "terms": terms,
        "kind": kind,
        "kinds": KINDS,
        "before": before,
        "found": found,
        "is_empty": not any(result.hits for _name, _title, result in found),
    }
    return render(request, "annotation/search.html", context)


def _id(query: MultiValueDict[str, str]) -> int | None:
    text = query.get("before", "")
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) <= MAX_DIGITS else None
