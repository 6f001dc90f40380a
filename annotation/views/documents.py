"""Help: the documents in docs/ as pages, which fit this version and work without a network."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.documents import SECTIONS, document


@login_required
@require_GET
def document_page(request: HttpRequest, name: str) -> HttpResponse:
    try:
        shown = document(name)
    except KeyError:
        raise Http404("No such document.") from None
    sections = [(title, [(other, document(other)) for other in names]) for title, names in SECTIONS]
    context = {"name": name, "document": shown, "sections": sections}
    return render(request, "annotation/documents.html", context)
