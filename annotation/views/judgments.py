"""The list of all judgments of a project, for leads and reviewers."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.lists.judgments import JUDGMENTS, order_in_words, screen_order
from annotation.lists.listing import Listing
from annotation.views import HtmxRequest
from annotation.views.lists import render_list


@login_required
@require_GET
def judgments(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    listing = Listing(JUDGMENTS, me.project, request.GET)
    if "format" not in request.GET:
        rows = [(row, order_in_words(row), screen_order(row)) for row in listing.page.rows]
        return render_list(request, me, listing, "annotation/judgments.html", {"rows": rows})
    return render_list(request, me, listing, "annotation/judgments.html")
