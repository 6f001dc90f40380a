"""The list of a project's items."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.lists.items import ITEMS
from annotation.lists.listing import Listing
from annotation.views import HtmxRequest
from annotation.views.lists import render_list


@login_required
@require_GET
def items(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return render_list(request, me, Listing(ITEMS, me.project, request.GET), "annotation/items.html")
