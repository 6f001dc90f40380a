"""The response of a page with a list: the page, or the list's rows as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_htmx.http import push_url

from annotation.actions.bulk import MAX_ROWS
from annotation.actions.saved_views import may_change
from annotation.http.streaming import stream_response
from annotation.lists.listing import Listing
from annotation.models import Member, SavedView
from annotation.views import HtmxRequest


def saved_views(me: Member, list_name: str) -> list[SavedView]:
    """The member's own views of a list and the shared ones, by name, each with `may_change`. One query."""
    visible = Q(owner=me.user_id) | Q(shared=True)
    views = SavedView.objects.filter(visible, project=me.project, list=list_name).select_related("owner")
    found = list(views.order_by("name", "pk"))
    for view in found:
        vars(view)["may_change"] = may_change(view, me)
    return found


def render_list(
    request: HtmxRequest,
    me: Member,
    listing: Listing,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponseBase:
    """The page, which finds the list as `listing`; with `format=csv` in the query, all rows that match as a file. htmx takes what
    it needs of the page, and is told the address without empty filters."""
    if request.method == "GET" and request.GET.get("format") == "csv":
        return stream_response(
            listing.csv_lines(),
            content_type="text/csv; charset=utf-8",
            name=f"{listing.definition.name}-{me.project.slug}.csv",
        )
    views = saved_views(me, listing.definition.name)
    page: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "listing": listing,
        "most": MAX_ROWS,
        "saved_views": views,
        "current_view": next((view for view in views if f"?{view.query}" == listing.query), None),
        **(context or {}),
    }
    response: HttpResponse = render(request, template, page, status=status)
    return push_url(response, listing.path + listing.query) if request.htmx else response
