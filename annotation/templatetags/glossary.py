"""The template tag `{% explain "gate" %}`: a button that shows what a word of the glossary means."""

from __future__ import annotations

from itertools import count

from django import template
from django.utils.translation import gettext as _

from annotation.documents import path_of
from annotation.logic.glossary import GLOSSARY

register = template.Library()
_numbers = count(1)


@register.inclusion_tag("parts/explain.html")
def explain(name: str) -> dict[str, str]:
    """A button with a popover, which a browser opens without scripts, by pointer, finger and keyboard alike. It may stand in a
    paragraph, not in a link or a button.

    Raises:
        KeyError: the glossary has no word of this name.
    """
    entry = GLOSSARY[name]
    return {
        "id": f"explanation-{next(_numbers)}",  # a word may be explained twice on a page
        "word": _(entry.word),
        "text": _(entry.text),
        "path": f"{path_of('glossary')}#{name}",
    }
