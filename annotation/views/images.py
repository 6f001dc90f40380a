"""Pictures of other sites, fetched by this one, for the members of a project whose pictures are `proxied`."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.signing import BadSignature
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from annotation.access import current_user, project_for
from annotation.actions.images import ImageRefused, fetch_image
from annotation.http.images import read_token
from annotation.models import Project


@login_required
@require_GET
def image(request: HttpRequest, slug: str, token: str) -> HttpResponse:
    """The picture; a sentence with the status 422 where it is refused."""
    project = project_for(current_user(request), slug)
    try:
        url = read_token(project, token)
    except BadSignature:
        raise Http404("No text shows this picture.") from None
    if project.images != Project.Images.PROXIED:
        raise Http404("This project shows no pictures through this site.")
    if not connection.in_atomic_block:
        connection.close()  # another site may take its time
    try:
        picture = fetch_image(url=url)
    except ImageRefused as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return HttpResponse(
        picture.content,
        content_type=picture.media_type,
        headers={
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Disposition": "inline",
            "Cache-Control": "private, max-age=86400",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
