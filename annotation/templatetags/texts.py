"""Template filter for rendered texts of a project."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString, mark_safe

from annotation.http.images import show_images
from annotation.models import Project

register = template.Library()


@register.filter
def prose(html: str, project: Project) -> SafeString:
    """Sanitized HTML with its pictures as the project shows them."""
    return mark_safe(show_images(html, project))  # noqa: S308
