"""Pictures in rendered texts, by the policy of their project: links, or images from their own sites or through this one.

A text is rendered with a link `a.image` for each picture, which the project's policy turns into an image or not.
"""

from __future__ import annotations

import re
from html import escape, unescape

from django.core import signing
from django.http import HttpResponse
from django.urls import reverse

from annotation.models import Project

MAX_URL_CHARS = 2_000
_IMAGE = re.compile(r'(<a class="image" href="(https?://[^"]*)"[^>]*>)(.*?)</a>', re.DOTALL)
_TAGS = re.compile(r"<[^>]*>")


def show_images(html: str, project: Project) -> str:
    """Rendered HTML with images in those links that the project's policy allows."""
    if project.images == Project.Images.BLOCKED or '<a class="image"' not in html:
        return html

    def show(match: re.Match[str]) -> str:
        link, address, label = match.groups()
        source = _source(unescape(address), project)
        if source is None:
            return match[0]
        alt = escape(unescape(_TAGS.sub("", label)))
        return (
            f'{link}<img src="{escape(source)}" alt="{alt}" loading="lazy" decoding="async" '
            f'referrerpolicy="no-referrer"></a>'
        )

    return _IMAGE.sub(show, html)


def allow_images(response: HttpResponse, project: Project) -> HttpResponse:
    """The response of a page that shows texts of a project, with the Content-Security-Policy that its pictures need."""
    if project.images == Project.Images.SHOWN:
        response._csp_update = {"img-src": ["https:"]}  # type: ignore[attr-defined]
    return response


def read_token(project: Project, token: str) -> str:
    """The address of a picture that a text of the project shows.

    Raises:
        signing.BadSignature: this site did not make the token, or for another project.
    """
    return str(_signer(project).unsign_object(token))


def _source(address: str, project: Project) -> str | None:
    if len(address) > MAX_URL_CHARS:
        return None
    if project.images == Project.Images.PROXIED:
        return reverse("image", args=[project.slug, _signer(project).sign_object(address)])
    return address if address.startswith("https://") else None


def _signer(project: Project) -> signing.Signer:
    # so that this site fetches nothing but what it found in a text
    return signing.Signer(salt=f"image of project {project.pk}")
