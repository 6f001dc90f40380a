"""Labels within sentences."""

from __future__ import annotations

from django.utils.translation import get_language

CAPITALIZE_NOUNS = {"de", "lb"}
"""Languages in which a noun begins with a capital wherever it stands."""


def within_sentence(label: object) -> str:
    """A label as it stands within a sentence: in lower case, but in languages that write nouns with capitals."""
    text, language = str(label), (get_language() or "").partition("-")[0]
    return text if language in CAPITALIZE_NOUNS else text.lower()
