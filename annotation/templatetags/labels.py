"""Template filter of labels that stand within a sentence; in every template without a load."""

from __future__ import annotations

from django import template

from annotation.labels import within_sentence

register = template.Library()
register.filter("within_sentence", within_sentence)
