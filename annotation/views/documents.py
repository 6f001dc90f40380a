"""Help: the documents in docs/, as pages that fit this version and work without a network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from annotation.logic.documents import Document, render_document

# in the order of the list, by who reads them
SECTIONS = (
    (_("Annotators"), ("annotating", "chat")),
    (_("Leads"), ("loop", "imports", "datasets", "training", "serving", "ai-feedback", "demo")),
    (_("Programs"), ("api", "client", "job-format")),
    (
        _("Administrators"),
        (
            "deployment",
            "settings",
            "operations",
            "security",
            "sign-in",
            "cluster",
            "benchmarks",
            "translating",
        ),
    ),
)
DOCUMENTS = {name for _title, names in SECTIONS for name in names}


def path_of(name: str) -> str:
    """The path of a document, empty for one that is none of these."""
    return reverse("help", args=[name]) if name in DOCUMENTS else ""


@cache
def document(name: str) -> Document:
    """A document by its name, read once in each process.

    Raises:
        KeyError: there is none of this name.
    """
    if name not in DOCUMENTS:
        raise KeyError(name)
    source = Path(settings.BASE_DIR, "docs", f"{name}.md").read_text(encoding="utf-8")
    return render_document(source, path_of)


@login_required
@require_GET
def document_page(request: HttpRequest, name: str) -> HttpResponse:
    try:
        shown = document(name)
    except KeyError:
        raise Http404("No such document.") from None
    sections = [(title, [(other, document(other)) for other in names]) for title, names in SECTIONS]
    return render(request, "annotation/documents.html", {"name": name, "document": shown, "sections": sections})
