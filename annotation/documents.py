"""The documents in docs/: which there are, by who reads them, and each as HTML."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotation.logic.documents import Document, render_document

# in the order of the list
SECTIONS = (
    (_("Annotators"), ("annotating", "chat")),
    (
        _("Leads"),
        (
            *("loop", "own-model", "imports", "datasets", "quality", "compare", "training", "serving"),
            *("ai-feedback", "demo", "glossary"),
        ),
    ),
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
DOCUMENTS = tuple(name for _title, names in SECTIONS for name in names)


def path_of(name: str) -> str:
    """The path of the page that shows a document, empty where there is none of this name."""
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
    return render_document(source, path_of, lambda picture: static(f"help/{picture}"))
